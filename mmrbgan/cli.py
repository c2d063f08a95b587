"""The `mmrbgan` command: one table of commands, each a module that is imported only when its command is called."""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Sequence

from mmrbgan_arch.support.exit_status import guarded

COMMANDS = {
    'restore': 'restore the faces in photographs',
    'ui': 'restore in a page of the browser',
    'export': 'the network as ONNX, TorchScript or safetensors',
    'train': 'train as an option file says (the same as `basicsr train`)',
    'test': 'restore and score test sets (the same as `basicsr test`)',
    'options': 'list the option files that ship, copy one to edit',
    'prepare': 'photographs into a training set, with landmarks and component boxes',
    'convert': 'public weights (GPEN, ArcFace) into networks of ours',
    'weights': 'fetch public weights into the cache folder and convert them',
    'evaluate': 'score a folder of restored faces, of any method, so that it can be compared',
    'report': 'the tables of the paper, filled from evaluations, beside the quoted numbers',
    'doctor': 'name what works, what is missing or broken, and the fix',
}
"""Command -> its line of help; its module has ``add_arguments(parser)`` and ``run(args) -> int``."""

MODULES = {'options': 'packaged_options'}
"""Command -> its module in ``commands``, where that is not the command's own name."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status (2: the user's error, told in one line; 130: Ctrl-C)."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser('mmrbgan', description='Restore degraded faces, and train networks that do')
    commands = parser.add_subparsers(metavar='COMMAND', required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if given and given[0] == name:
            implementation = importlib.import_module(f'mmrbgan.commands.{MODULES.get(name, name)}')
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    args = parser.parse_args(given)
    return guarded(args.run, args)


if __name__ == '__main__':
    sys.exit(main())
