"""The `basicsr` command: BasicSR's own ``train_pipeline`` and ``test_pipeline``, with every plugin loaded.

BasicSR binds what it uses in ``basicsr.train`` and ``basicsr.test`` at import, so that is where each remedy is put, for
the length of one run. Everything that can fail, from the options to the weights, is read and built before the first
folder is made.
"""

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import logging
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.exit_status import guarded


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``basicsr train|test``; return the exit status."""
    parser = argparse.ArgumentParser('basicsr', description="BasicSR's runners, with every installed plugin")
    commands = parser.add_subparsers(dest='command', required=True)
    for name, summary in (('train', 'train as an option file says'), ('test', 'restore and score the test sets')):
        add_arguments(commands.add_parser(name, help=summary, description=summary))
    args = parser.parse_args(argv)
    return guarded(functools.partial(run, args.command), args)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add BasicSR's flags."""
    add = parser.add_argument
    add(
        '-opt',
        '--opt',
        required=True,
        metavar='F',
        help='the option file (yml), or the name of one that ships (`mmrbgan options list`)',
    )
    add('--auto_resume', action='store_true', help='go on from the newest complete checkpoint of this run')
    add('--launcher', choices=('none', 'pytorch'), default='none', help='pytorch: started by torchrun')
    add('--force_yml', nargs='+', default=[], metavar='A:B=C', help='options to set, such as train:total_iter=100')
    add('--debug', action='store_true', help='name the run debug_..., log every iteration, validate every 8')
    add('--local_rank', '--local-rank', type=int, default=0, help='taken from older launchers; LOCAL_RANK counts')


def run(command: str, args: argparse.Namespace) -> int:
    """Load the plugins and hand over to BasicSR's pipeline ``command``, train or test."""
    load_plugins()
    runs, faults = (importlib.import_module(f'mmrbgan.running.{name}') for name in ('runs', 'faults'))
    pipeline = importlib.import_module(f'basicsr.{command}')
    current = {'train': runs.TrainRun, 'test': runs.TestRun}[command](args)
    closing, patched = contextlib.closing(current), replaced(pipeline, current.remedies())
    with faults.as_one_line(current.roots), closing, patched:
        try:
            getattr(pipeline, f'{command}_pipeline')(str(current.root))
        except runs.RunStoppedError as stop:
            logging.getLogger('mmrbgan').warning('%s', stop)
        runs.processes.finish()
    return 0


def load_plugins() -> None:
    """Import every module that installed packages name in the entry-point group ``basicsr.plugins``."""
    basicsr_bridge.connect()
    for entry in importlib.metadata.entry_points(group='basicsr.plugins'):
        try:
            entry.load()
        except UsageError:
            raise
        except Exception as error:
            detail = traceback.format_exception_only(error)[-1].strip()
            raise UsageError(f'the plugin {entry.name} ({entry.value}) cannot be imported: {detail}') from error


@contextlib.contextmanager
def replaced(module: ModuleType, names: dict[str, Any]) -> Iterator[None]:
    """Set ``names`` in ``module`` for the length of the block.

    Raises:
        UsageError: ``module`` is of a BasicSR that has another pipeline.
    """
    if missing := [name for name in names if not hasattr(module, name)]:
        raise UsageError(
            f'{module.__name__} of {module.__file__} has no {missing[0]}: this command needs basicsr 1.3.4.9 or later; '
            'with a fork use its own train script, which imports mmrbgan.plugin (docs/forks.md)'
        )
    before = {name: getattr(module, name) for name in names}
    vars(module).update(names)
    try:
        yield
    finally:
        vars(module).update(before)


if __name__ == '__main__':
    sys.exit(main())
