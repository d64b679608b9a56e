"""From the files of a source to nnU-Net raw datasets: find, check, reorient, label, place, split."""

__all__: list[str] = []
