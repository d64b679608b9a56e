"""Two boxes in a small CT and two models with known errors, for tests of the overlay page."""

import numpy as np

from nnunet_ext.evaluation.overlays import OverlayCase
from nnunet_ext.volumes import Volume

SPACING = (2.0, 1.0, 1.0)
HOSTILE = '<script>alert("x")</script>&\'"</title>'
LABELS = {1: "femur", 2: "left_tibia"}


def volume(array):
    return Volume(array, SPACING)


def boxes():
    """True labels (30, 50, 60): the femur, 1, and the tibia, 2; x runs to the patient's left."""
    array = np.zeros((30, 50, 60), np.uint8)
    array[8:22, 15:35, 15:35] = 1
    array[8:22, 15:35, 38:48] = 2
    return array


def case(name="a", *, score=0.9, with_ct=True):
    """A case: `much` takes four columns too many, at slice 20 four more; `little` misses the tibia, partly as femur."""
    truth = boxes()
    much, little = truth.copy(), truth.copy()
    much[8:22, 15:35, 11:15] = 1
    much[20, 15:35, 8:11] = 1
    little[8:22, 15:35, 38:44], little[8:22, 15:35, 44:48] = 1, 0
    noise = np.random.default_rng(0).integers(-20, 20, truth.shape)
    ct = (np.where(truth > 0, 600, 40) + noise).astype(np.int16)
    predictions = {"much": volume(much), "little": volume(little)}
    return OverlayCase(name, volume(truth), predictions, volume(ct) if with_ct else None, score)
