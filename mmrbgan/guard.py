"""Turns what ends a command into an exit status: a user's error into one line, Ctrl-C into 130."""

import argparse
import sys
from collections.abc import Callable

USAGE_STATUS, INTERRUPT_STATUS = 2, 130


def guarded(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Call ``command``; a UsageError is one line on stderr and status 2, Ctrl-C is status 130."""
    try:
        return command(args)
    except ValueError as error:
        from mmrbgan_arch.errors import UsageError  # brings torch along, for which `--help` does not wait

        if not isinstance(error, UsageError):
            raise
        sys.stderr.write(f'error: {one_line(error)}\n')
        return USAGE_STATUS
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        return INTERRUPT_STATUS


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` as one line; a DataLoader wraps what its workers raise into a traceback."""
    text = str(error).strip()
    if 'Original Traceback' in text:
        text = text.splitlines()[-1].partition(': ')[2]
    return ' '.join(text.split())
