"""Write a file under a temporary name and rename it, so that no half-written file is ever seen."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from label_gen.errors import VolumeFileError

__all__ = ["check_writable", "remove_leftovers", "replacing", "write_csv", "write_failure", "write_json"]


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield a temporary name beside a file; the body writes it, and on success it becomes the file.

    The temporary name starts with a dot and ends in the name of the file, so it keeps the suffix and no command takes
    it for a case. It is removed when the body fails. Folders that are missing are made.

    Args:
        target: The file to write.

    Yields:
        The name to write to.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    temporary = target.with_name(f".{secrets.token_hex(4)}.tmp.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        with temporary.open("xb") as stream:
            _lock(stream)
            yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except VolumeFileError:
        raise
    except OSError as error:
        raise write_failure(target, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_writable(target: Path) -> None:
    """Check that a file can be made, so that hours of work do not end in an error. Folders that are missing are made.

    Args:
        target: The file to be written later.

    Raises:
        VolumeFileError: It cannot be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        raise write_failure(target, error) from error


def remove_leftovers(target: Path) -> None:
    """Remove temporary files of a target whose writer was killed.

    A living writer holds a lock on its file, which the system takes away when the process ends, however it ends.

    Args:
        target: The file that was to be written.
    """
    pattern = re.compile(r"\.[0-9a-f]{8}\.tmp\." + re.escape(target.name))
    with suppress(OSError):
        for name in os.listdir(target.parent):
            if pattern.fullmatch(name):
                leftover = target.parent / name
                with suppress(OSError), leftover.open("rb+") as stream:
                    if _lock(stream):
                        leftover.unlink()


def _lock(stream: BinaryIO) -> bool:
    """Lock an open file against other processes, if nobody has and the file system can."""
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_failure(target: Path, reason: OSError | str) -> VolumeFileError:
    """Return the error that says why a file cannot be written and what mends it.

    Args:
        target: The file that was to be written.
        reason: What went wrong.

    Returns:
        The error, to be raised.
    """
    number = reason.errno if isinstance(reason, OSError) else None
    text = (reason.strerror or str(reason)) if isinstance(reason, OSError) else reason
    if number in (errno.EEXIST, errno.ENOTDIR):
        return VolumeFileError(
            f"cannot write '{target}': a file stands where a folder was expected; choose another output (-o)"
        )
    if number not in (None, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        return VolumeFileError(
            f"cannot write '{target}': {text}; choose an output (-o) in a folder that you may write to"
        )
    return VolumeFileError(
        f"cannot write '{target}': {text}; {_free_space(target)}. Make space or choose another output (-o), "
        "then run the same command again: finished cases are kept"
    )


def _free_space(target: Path) -> str:
    for folder in target.parents:
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            continue
        return f"{free / 1e6:.1f} MB are free there"
    return "the free space is unknown"


def write_json(target: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically.

    Args:
        target: The file.
        content: What to write. NumPy numbers become plain ones; what is not a finite number becomes null.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    text = json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"
    with replacing(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value


def write_csv(target: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table as CSV atomically; the columns are the keys of all rows in the order they are met.

    Args:
        target: The file.
        rows: One mapping per row; None and absent keys become empty fields.

    Raises:
        VolumeFileError: The file cannot be written.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with replacing(target) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: "" if value is None else value for key, value in row.items()})
