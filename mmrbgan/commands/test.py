"""`mmrbgan test`: the same as `basicsr test`."""

import argparse

from ..running import runner
from ..running.runner import add_arguments

__all__ = ['add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Restore and score the test sets."""
    return runner.run('test', args)
