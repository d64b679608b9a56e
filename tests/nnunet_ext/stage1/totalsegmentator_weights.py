"""Tiny weights in the layout of TotalSegmentator's, for tests of its own code."""

from tests.nnunet_ext.stage1.networks import HU, save_model

NAMES = {
    "sacrum": "sacrum",
    "hip_left": "left_hip",
    "hip_right": "right_hip",
    "femur_left": "left_femur",
    "femur_right": "right_femur",
}


def write_weights(place, numbers=(292, 294, 297, 298)):
    """Write the models of some datasets into a folder; they know the bones by their HU."""
    from totalsegmentator.map_tasks_config import TASK_ID_WEIGHTS_CONFIGS
    from totalsegmentator.map_to_binary import class_map, class_map_5_parts, map_taskid_to_partname_ct

    for number in numbers:
        whole = number in (297, 298)
        classes = class_map["total"] if whole else class_map_5_parts[map_taskid_to_partname_ct[number]]
        trainer = "nnUNetTrainer_4000epochs_NoMirroring" if whole else "nnUNetTrainerNoMirroring"
        labels = {"background": 0, **{name: value for value, name in classes.items()}}
        hu = {name: HU[bone] for name, bone in NAMES.items() if name in labels}
        folder = place / TASK_ID_WEIGHTS_CONFIGS[number]["foldername"] / f"{trainer}__nnUNetPlans__3d_fullres"
        spacing = {297: 3.0, 298: 6.0}.get(number, 1.5)
        edges = 0.0 if number == 298 else 100.0
        save_model(folder, labels, hu, dims=3, spacing=spacing, trainer=trainer, edges=edges)
    return place
