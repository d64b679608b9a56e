"""A segmentation as other programs want it: 3D Slicer, ITK-SNAP, and DICOM archives."""

from nnunet_ext.outputs.dicom_seg import write_dicom_seg
from nnunet_ext.outputs.label_tables import write_itksnap_labels, write_slicer_colours
from nnunet_ext.outputs.seg_nrrd import write_seg_nrrd

__all__ = ["write_dicom_seg", "write_itksnap_labels", "write_seg_nrrd", "write_slicer_colours"]
