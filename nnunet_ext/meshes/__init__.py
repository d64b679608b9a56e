"""Surfaces of fragments in the patient's coordinates, and the files they go to."""

from nnunet_ext.meshes.files import write_meshes
from nnunet_ext.meshes.world import make_meshes

__all__ = ["make_meshes", "write_meshes"]
