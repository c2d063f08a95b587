"""The one way this project writes a file: beside its name, flushed, then renamed, so that it is whole or not there.

The file beside has an unpredictable name and is made anew (``O_EXCL``), so that no link laid in its way is followed; a
link at the name itself is replaced.
"""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import UsageError

MARK = '.part-'
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_BINARY', 0)
OLD_FILE = os.O_WRONLY | os.O_APPEND | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_BINARY', 0)


def write_atomically(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` with a file that takes the name ``path`` once it is whole and on the disk; folders are made.

    Whatever ``write`` or the system raises is passed on, an OSError with ``path`` as its file; then what was at
    ``path`` is untouched, and nothing partial is left.
    """
    path = Path(path)
    part = path.with_name(f'.mmrbgan{MARK}{secrets.token_hex(8)}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(part, NEW_FILE, 0o666), 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part), str(path.parent)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # nobody knows the name of the part
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path``; see ``write_atomically``."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, what that cannot hold (names that are not UTF-8) escaped."""
    write_bytes(path, text.encode('utf-8', 'backslashreplace'))


def append_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Append ``content`` to the file ``path``, which must be there and no link."""
    with os.fdopen(os.open(path, OLD_FILE), 'ab') as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: str | os.PathLike[str], way_out: str) -> Iterator[None]:
    """Turn the system's refusal to write (disk full, no right, name too long) into one line.

    Args:
        path: what is written, for errors that name no file themselves.
        way_out: what the user can do.

    Raises:
        UsageError: in the place of any OSError.
    """
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or os.fspath(path)
        raise UsageError(f'{place}: cannot be written ({error.strerror or error}); {way_out}') from error


def remove_partial_files(folder: Path) -> None:
    """Delete what killed processes left half-written in ``folder``."""
    for part in folder.glob(f'.mmrbgan{MARK}*'):
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
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
