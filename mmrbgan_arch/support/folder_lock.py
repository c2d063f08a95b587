"""One process at a time writes to a folder: a lock beside it, which the system gives up when its process dies."""

import contextlib
import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import IO, Any

from .atomic_files import writing
from .errors import UsageError

try:
    import fcntl
except ImportError:  # Windows; folders are not locked there
    fcntl = None  # type: ignore[assignment]


class FolderLock:
    """The right to write to ``folder``, from ``take`` to ``release`` or the end of the process.

    The file lies beside the folder (``.NAME.lock``), since a run may rename its folder, and holds host and process id.
    The lock is the record lock of this process: loader workers do not inherit it, and file servers keep it, too.
    """

    def __init__(self, folder: str | os.PathLike[str], way_out: str) -> None:
        """Args: way_out: what a user can do who finds the folder taken."""
        folder = Path(folder).absolute()
        self._folder, self._way_out = folder, way_out
        self._path = folder.with_name(f'.{folder.name}.lock')
        self._file: IO[str] | None = None
        self._made_parent = False

    def take(self) -> None:
        """Lock the folder; once more is harmless.

        Raises:
            UsageError: another process has it, or the lock cannot be written.
        """
        if self._file is not None or fcntl is None:
            return
        with writing(self._path, 'make room on the disk, or choose another folder'):
            self._made_parent = not self._path.parent.exists()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            while self._file is None:
                self._file = self._try()
            self._file.truncate(0)
            self._file.write(json.dumps({'host': socket.gethostname(), 'process': os.getpid(), 'argv': sys.argv}))
            self._file.flush()

    def release(self) -> None:
        """Give the folder back, and leave nothing behind."""
        if self._file is None:
            return
        self._path.unlink(missing_ok=True)  # while it is still ours
        self._file.close()
        self._file = None
        if self._made_parent:
            with contextlib.suppress(OSError):  # not empty: the run has written there
                self._path.parent.rmdir()

    def __enter__(self) -> 'FolderLock':
        self.take()
        return self

    def __exit__(self, *_: Any) -> None:
        self.release()

    def _try(self) -> IO[str] | None:
        """Return the locked file; None where its former owner took it away while we came."""
        file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0), 0o666), 'r+')
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            owner = self._owner(file)
            file.close()
            raise UsageError(f'{self._folder}: is being written by {owner}; {self._way_out}') from None
        except BaseException:
            file.close()
            raise
        if self._path.exists() and os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
            return file
        file.close()
        return None

    @staticmethod
    def _owner(file: IO[str]) -> str:
        for _ in range(5):  # it may be about to write it
            with contextlib.suppress(ValueError, TypeError, KeyError):
                file.seek(0)
                told = json.loads(file.read())
                return f'process {int(told["process"])} on {told["host"]}'
            time.sleep(0.05)
        return 'another process'
