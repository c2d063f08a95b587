"""Files that are either whole or not there: written beside their name, flushed, then renamed."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from mmrbgan_arch.errors import UsageError

_MARK = '.part-'


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a file that takes the name ``path`` once it is whole and on the disk.

    Raises:
        UsageError: the disk is full or not writable; what was at ``path`` is untouched and nothing partial stays.
    """
    part = path.with_name(f'.{path.name}{_MARK}{os.getpid()}')
    try:
        with open(part, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch's writer turns the system's error into a RuntimeError
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UsageError(
            f'{path}: cannot be written ({_reason(error)}); the run stops here and earlier checkpoints are untouched: '
            'make room on the disk, then go on with --auto_resume'
        ) from error


def remove_partial_files(folder: Path) -> None:
    """Delete what killed processes left half-written in ``folder``."""
    for part in folder.glob(f'.*{_MARK}*'):
        part.unlink(missing_ok=True)


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
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


def _reason(error: BaseException) -> str:
    """Return the system's words for what happened, also where torch has wrapped them."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        inner = error.__cause__ or error.__context__
        if inner is None:
            return ' '.join(str(error).split())[:200] or type(error).__name__
        error = inner
    return 'unknown'
