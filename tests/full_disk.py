"""A disk that is full: files of this process end after a few bytes, as the system's own limit has it."""

import contextlib
import resource


@contextlib.contextmanager
def full_disk(room: int = 64):
    """Let no file of this process grow above ``room`` bytes: writing more is an OSError ('File too large')."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
