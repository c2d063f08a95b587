"""What the C library does with freed memory, for work on the CPU that asks for the same large sizes again and again.

By default glibc maps large blocks anew and the system clears them page by page, or, once some were freed, puts them
between small ones that stay, so that the holes fit nothing later. Elsewhere these functions do nothing.
"""

import contextlib
import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -2, -3, -4  # of malloc.h


def separate_memory() -> None:
    """Let large blocks have pages of their own, which go back to the system when they are freed."""
    _set_malloc(_MMAP_THRESHOLD, 2**17)


def keep_memory() -> None:
    """Let glibc keep freed memory for the next use, in the whole process.

    Best called once what stays is there: small allocations fragment the heap.
    """
    give_back_memory()
    _set_malloc(_MMAP_MAX, 0)
    _set_malloc(_TRIM_THRESHOLD, 2**31 - 1)
    _set_malloc(_TOP_PAD, 2**26)


def give_back_memory() -> None:
    """Hand freed memory back to the system."""
    with contextlib.suppress(OSError, AttributeError, TypeError):  # another system or another C library
        ctypes.CDLL(None).malloc_trim(0)


def _set_malloc(parameter: int, value: int) -> None:
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).mallopt(parameter, value)
