"""The nnU-Net v2 extension: everything that touches files and the command line. Importing it imports nothing heavy."""

__all__ = ["__version__"]

__version__ = "0.1.0"
