"""What the C library does with freed memory, for work on the CPU that asks for the same large sizes again and again."""

import contextlib
import ctypes

_MALLOPT = {-4: 0, -1: 2**31 - 1, -2: 2**26}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h


def keep_memory() -> None:
    """Let glibc keep freed memory for the next use, in the whole process; elsewhere do nothing.

    By default the system maps every large feature map anew and clears it page by page.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system or another C library
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOPT.items():
            mallopt(parameter, value)


def give_back_memory() -> None:
    """Hand freed memory back to the system: glibc keeps it, in holes that what comes next may not fit into."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only glibc has the call
        ctypes.CDLL(None).malloc_trim(0)
