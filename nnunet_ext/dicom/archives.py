"""Unpack a zip that a stranger made: no links, no way out of the folder, not too many files, not too large."""

from __future__ import annotations

import shutil
import stat
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from label_gen.errors import DataError, VolumeFileError

__all__ = ["MAX_BYTES", "MAX_FILES", "Unpacked", "unpack"]

MAX_FILES = 50_000
"""Most files in a zip. Chosen here: a study of ten series of 2000 slices has 20,000."""

MAX_BYTES = 20 * 1024**3
"""Largest sum of the unpacked files. Chosen here: a study of ten series of 2000 slices of 512 x 512 has 10 GB."""

_MAX_RATIO = 200
"""Largest ratio of unpacked to packed bytes, beyond a first gigabyte. Chosen here: CT packs to a half or a third, empty
slices to a hundredth, zip bombs to a thousandth."""

_RATIO_FREE_BYTES = 1024**3
_KEEP_FREE_BYTES = 1024**3
_BLOCK = 1 << 20
_CURE = "unpack it yourself if you trust it"


class Unpacked:
    """A temporary folder with the files of a zip; it is removed when nothing refers to this object any more."""

    def __init__(self) -> None:
        """Make the folder.

        Raises:
            VolumeFileError: The temporary folder cannot be written.
        """
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="abbc-"))
        except OSError as error:
            raise VolumeFileError(
                f"cannot make a temporary folder: {error.strerror or error}; set TMPDIR to a folder with space"
            ) from error
        self._remove = weakref.finalize(self, shutil.rmtree, str(self.folder), ignore_errors=True)

    def close(self) -> None:
        """Remove the folder now."""
        self._remove()


def unpack(path: str | Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Unpacked:
    """Unpack a zip into a temporary folder.

    Everything is checked before the first byte is written, and the bytes are counted while they come out, since a
    zip may lie about its sizes. Zips inside are left packed.

    Args:
        path: The zip.
        max_files: Most files it may hold.
        max_bytes: Most bytes that its files may have in sum.

    Returns:
        The folder; keep the object as long as the files are needed.

    Raises:
        VolumeFileError: The zip is missing, damaged or encrypted, or there is no space for its files.
        DataError: It holds links, names that lead out of the folder or occur twice, or too much.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _check(path, archive, max_files, max_bytes)
            unpacked = Unpacked()
            _check_space(path, sum(entry.file_size for entry in entries.values()), unpacked.folder)
            left = max_bytes
            for name, entry in entries.items():
                left -= _extract(path, archive, entry, unpacked.folder / name, left)
            return unpacked
    except FileNotFoundError as error:
        raise VolumeFileError(f"there is no file '{path}'; check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise VolumeFileError(f"'{path.name}' is no intact zip ({error}); copy or export it again") from error
    except VolumeFileError:
        raise
    except OSError as error:
        raise VolumeFileError(
            f"cannot unpack '{path.name}': {error.strerror or error}; check space and rights"
        ) from error


def _check(path: Path, archive: zipfile.ZipFile, max_files: int, max_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a zip by their names in the folder, all of them harmless."""
    entries: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        if entry.is_dir():
            _inner_name(path, entry.filename)
            continue
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            what = "a link" if kind == stat.S_IFLNK else "something that is not a plain file"
            raise DataError(
                f"'{path.name}' holds {what} ('{_last(entry.filename)}'); unpack it yourself if you trust it"
            )
        if entry.flag_bits & 1:
            raise VolumeFileError(f"'{path.name}' is encrypted; unpack it with its password and give the folder")
        name = _inner_name(path, entry.filename)
        if name in entries:
            raise DataError(f"'{path.name}' holds two files of the name '{_last(name)}'; unpack it and give the folder")
        entries[name] = entry
        if len(entries) > max_files:
            raise DataError(
                f"'{path.name}' holds more than {max_files} files; unpack it and give the folder of one study"
            )
    size = sum(entry.file_size for entry in entries.values())
    packed = sum(entry.compress_size for entry in entries.values())
    if size > max_bytes or size > max(_RATIO_FREE_BYTES, _MAX_RATIO * packed):
        raise DataError(
            f"'{path.name}' would unpack to {size / 1e9:.1f} GB from {packed / 1e9:.2f} GB, more than a CT study "
            f"has (at most {max_bytes / 1e9:.0f} GB and {_MAX_RATIO} times its size); {_CURE}"
        )
    return entries


def _inner_name(path: Path, name: str) -> str:
    """Return the relative name of an entry, or refuse one that leads elsewhere."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    if not parts or ".." in parts or parts[0].startswith("/") or ":" in parts[0] or "\0" in name:
        raise DataError(f"'{path.name}' holds a name that leads out of its folder ('{_last(name)}'); {_CURE}")
    return "/".join(parts)


def _last(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _check_space(path: Path, needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed + _KEEP_FREE_BYTES > free:
        raise VolumeFileError(
            f"no space to unpack '{path.name}': {needed / 1e9:.1f} GB and 1 GB to spare are needed in the temporary "
            f"folder, {free / 1e9:.1f} GB are free; set TMPDIR to a larger one"
        )


def _extract(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Write one file and return its size."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as output:
        while block := source.read(_BLOCK):
            written += len(block)
            if written > min(entry.file_size, left):
                raise DataError(f"'{path.name}' unpacks to more than it announces; it is damaged or made to do harm")
            output.write(block)
    return written
