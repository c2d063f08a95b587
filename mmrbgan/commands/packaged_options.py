"""`mmrbgan options`: the option files that ship, listed or copied to be edited."""

import argparse
import sys
from pathlib import Path

from mmrbgan_arch.support.atomic_files import write_text, writing
from mmrbgan_arch.support.errors import UsageError

from ..running.options import option_files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `list` and `copy`."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    actions.add_parser('list', help='names and purposes', description='Names for -opt, and what each is for.')
    copy = actions.add_parser('copy', help='write one to edit', description='Write an option file to edit.')
    copy.add_argument('name', metavar='NAME', help='as in `mmrbgan options list`')
    copy.add_argument('-o', '--output', type=Path, metavar='FILE', help='default: NAME.yml in the current folder')


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    if args.action == 'list':
        for name in option_files.names():
            sys.stdout.write(f'{name:32} {option_files.purpose(name)}\n')
        return 0
    source = option_files.packaged(args.name)
    target = args.output or Path(source.name)
    if target.exists():
        raise UsageError(f'{target} is there already; name another file with -o')
    with writing(target, 'choose another place with -o'):
        write_text(target, option_files.to_edit(args.name))
    sys.stdout.write(f'{target}: edit it, then `basicsr {source.name.split("_")[0]} -opt {target}`\n')
    return 0
