"""The tri-planar mode: one 2D network over axial, coronal and sagittal slices, its probabilities averaged."""

__all__: list[str] = []
