"""What ends a run without being a mistake in the code: a full disk, no memory, a killed worker, one line each."""

import contextlib
import errno
import sys
import threading
from collections.abc import Callable, Iterator

from mmrbgan.restoring.face_network import is_out_of_memory
from mmrbgan_arch.support.errors import UsageError

DISK = frozenset((errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO))
WORKER = 'DataLoader worker'
GO_ON = 'the last checkpoint is untouched, --auto_resume goes on from there'


@contextlib.contextmanager
def as_one_line(roots: Callable[[], list[str]]) -> Iterator[None]:
    """Raise UsageError in the place of the system's refusal to write, of missing memory and of a loader worker's death.

    Args:
        roots: returns where the run's images lie, for the death of a worker that read them.
    """
    before, threading.excepthook = threading.excepthook, _quiet_about_disks
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        place = error.filename or 'a file of this run (log, TensorBoard)'
        raise UsageError(
            f'{place}: cannot be written ({error.strerror}); make room on the disk, or start from another folder; '
            f'{GO_ON}'
        ) from error
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise UsageError(f'out of memory; lower batch_size_per_gpu or the size of the networks; {GO_ON}') from error
        cause = _worker_death(error)
        if cause is None:
            raise
        raise UsageError(f'{cause}; {_advice(cause, roots())}; {GO_ON}') from error
    finally:
        threading.excepthook = before


def _quiet_about_disks(what: threading.ExceptHookArgs) -> None:
    """Leave out the traceback of TensorBoard's thread, whose writer raises the same error where it is used next."""
    if not (isinstance(what.exc_value, OSError) and what.exc_value.errno in DISK):
        sys.__excepthook__(what.exc_type, what.exc_value or what.exc_type(), what.exc_traceback)


def _worker_death(error: BaseException | None) -> str | None:
    """Return torch's words for how a worker died: the signal, if an error in the chain has it."""
    found = None
    while error is not None:
        text = ' '.join(str(error).split())
        if text.startswith(WORKER):
            found = text.partition('. ')[0].rstrip('.')
            if 'signal' in found:
                return found
        error = error.__cause__ or error.__context__
    return found


def _advice(cause: str, roots: list[str]) -> str:
    if 'Bus error' in cause or 'Segmentation' in cause:
        return f'a damaged file, or no shared memory; look at {", ".join(roots)}, or set num_worker_per_gpu: 0'
    return 'where memory is short, lower num_worker_per_gpu'
