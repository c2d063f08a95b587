"""Disks that are full or read-only; full: files of this process end after a few bytes, by the system's own limit."""

import contextlib
import errno
import io
import os
import resource
from unittest import mock


@contextlib.contextmanager
def full_disk(room: int = 64):
    """Let no file of this process grow above ``room`` bytes: writing more is an OSError ('File too large')."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextlib.contextmanager
def read_only_disk():
    """Let nothing be made or opened for writing by this process, as where a disk is mounted read-only."""

    def refused(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def open_low(path, flags, *rest, **more):
        return refused(path) if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) else real_low(path, flags, *rest, **more)

    def open_high(path, mode='r', *rest, **more):
        writes = set(mode) & set('wax+') and str(path) != os.devnull
        return refused(path) if writes else real_high(path, mode, *rest, **more)

    real_low, real_high = os.open, io.open
    with (
        mock.patch('os.open', open_low),
        mock.patch('os.mkdir', refused),
        mock.patch('os.rename', refused),
        mock.patch('io.open', open_high),
        mock.patch('builtins.open', open_high),
    ):
        yield
