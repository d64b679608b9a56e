"""The augmentations of Ekman et al. 2025, Table 1, as transforms for nnU-Net's data loaders; see `pipeline`."""

__all__: list[str] = []
