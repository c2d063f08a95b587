"""Turns what ends a command into an exit status: a user's error into one line, Ctrl-C into 130."""

import argparse
import os
import sys
from collections.abc import Callable

LONGEST_LINE = 480  # characters; what is in the middle of a longer one is some file's content
USAGE_STATUS, INTERRUPT_STATUS, PIPE_STATUS = 2, 130, 141  # argparse's; 128 + SIGINT; 128 + SIGPIPE


def guarded(command: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Call ``command``; a UsageError is one line on stderr and status 2; Ctrl-C is status 130, a closed pipe 141."""
    try:
        status = command(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _nobody_reads():  # some other pipe, of a worker for example
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its exit
        return PIPE_STATUS
    except ValueError as error:
        from .errors import UsageError

        if not isinstance(error, UsageError):
            raise
        sys.stderr.write(f'error: {one_line(error)}\n')
        return USAGE_STATUS
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith('mmrbgan'):
            raise
        sys.stderr.write(f'error: this needs the package {error.name}, which is not installed; `pip install mmrbgan`\n')
        return USAGE_STATUS
    except KeyboardInterrupt:
        sys.stderr.write('interrupted\n')
        return INTERRUPT_STATUS


def _nobody_reads() -> bool:
    """Say whether what reads the output, `head` for example, has ended; else it gets an empty line."""
    try:
        sys.stdout.write('\n')
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


def one_line(error: BaseException) -> str:
    """Return the message of ``error`` as a line; a DataLoader wraps what its workers raise into a traceback."""
    text = str(error).strip()
    if 'Original Traceback' in text:
        text = text.splitlines()[-1].partition(': ')[2]
    line = ' '.join(text.split())
    return line if len(line) <= LONGEST_LINE else f'{line[: LONGEST_LINE // 2]} [...] {line[-LONGEST_LINE // 2 :]}'
