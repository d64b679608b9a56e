"""Networks of slices with encoders that were made for photographs, for nnU-Net; the extra `networks` brings them."""

__all__: list[str] = []
