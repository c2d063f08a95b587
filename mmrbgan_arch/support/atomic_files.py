"""Files that are either whole or not there: written beside their name, flushed, then renamed."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

MARK = '.part-'


def write_atomically(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a file that takes the name ``path`` once it is whole and on the disk; folders are made.

    Whatever ``write`` or the system raises is passed on; then what was at ``path`` is untouched, and nothing partial is
    left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16]  # the name itself may leave no room for a mark
    part = path.with_name(f'.{digest}{MARK}{os.getpid()}')
    try:
        with open(part, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def remove_partial_files(folder: Path) -> None:
    """Delete what killed processes left half-written in ``folder``."""
    for part in folder.glob(f'.*{MARK}*'):
        part.unlink(missing_ok=True)


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hex digits (``hashlib.file_digest`` comes with Python 3.11 only)."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make the renaming itself last through a power cut, where the system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
