"""Training: what is checked before it, and what nnU-Net's trainers of this project are made of."""

__all__: list[str] = []
