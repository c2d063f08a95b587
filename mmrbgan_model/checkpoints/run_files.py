"""A run's files: written whole or not at all; a full disk gives one line that says how to continue."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from mmrbgan_arch.support import atomic_files
from mmrbgan_arch.support.errors import UsageError


def write_run_file(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a file that takes the name ``path`` once it is whole and on the disk.

    Raises:
        UsageError: the disk is full or not writable; what was at ``path`` is untouched and nothing partial stays.
    """
    try:
        atomic_files.write_atomically(path, write)
    except (OSError, RuntimeError) as error:  # torch's writer turns the system's error into a RuntimeError
        if str(error).startswith('DataLoader worker'):  # its death is told wherever the run is at that moment
            raise
        raise UsageError(
            f'{path}: cannot be written ({_reason(error)}); the run stops here and earlier checkpoints are untouched: '
            'make room on the disk, then go on with --auto_resume'
        ) from error


def _reason(error: BaseException) -> str:
    """Return the system's error message, unwrapped from torch's."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        inner = error.__cause__ or error.__context__
        if inner is None:
            return ' '.join(str(error).split())[:200] or type(error).__name__
        error = inner
    return 'unknown'
