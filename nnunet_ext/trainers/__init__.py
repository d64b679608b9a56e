"""The trainers that nnU-Net finds by name, and the parts they are mixed from."""

__all__: list[str] = []
