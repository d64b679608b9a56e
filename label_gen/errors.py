"""The errors that users of this project can meet, as one tree.

FractureError
├── DataError (ValueError)        the content of a volume is not what it has to be
│   ├── GridError                 two volumes that belong together have different grids
│   └── SchemeError               a label does not exist in the label scheme, or a scheme file is wrong
├── VolumeFileError (OSError)     a file or folder cannot be read or written
└── UsageError (ValueError)       an option or argument has a value that makes no sense

The text of each says what is wrong, what was got, what was expected, and what mends it.
"""

__all__ = ["DataError", "FractureError", "GridError", "SchemeError", "UsageError", "VolumeFileError"]


class FractureError(Exception):
    """Base of all errors raised on purpose by this project."""


class DataError(FractureError, ValueError):
    """The content of a volume is not what it has to be."""


class GridError(DataError):
    """Two volumes that belong together have different grids."""


class SchemeError(DataError):
    """A label does not exist in the label scheme, or a scheme file is wrong."""


class VolumeFileError(FractureError, OSError):
    """A file or folder cannot be read or written."""


class UsageError(FractureError, ValueError):
    """An option or argument has a value that makes no sense."""
