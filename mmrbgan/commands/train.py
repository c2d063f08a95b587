"""`mmrbgan train`: the same as `basicsr train`."""

import argparse

from ..running import runner
from ..running.runner import add_arguments

__all__ = ['add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Train."""
    return runner.run('train', args)
