"""`mmrbgan weights`: public weights from their authors, or a mirror, into the cache folder, converted for use here."""

import argparse
import sys

from mmrbgan_arch.releases import RELEASES, get, release_of
from mmrbgan_arch.support.fetch import source_of
from mmrbgan_arch.support.user_cache import cache_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `get` and `list`."""
    actions = parser.add_subparsers(dest='action', metavar='ACTION', required=True)
    get = actions.add_parser('get', help='fetch, pin and convert', description='Fetch, pin and convert public weights.')
    get.add_argument('name', metavar='NAME', help=', '.join(RELEASES))
    get.add_argument('--offline', action='store_true', help='never touch the network; convert what lies in the cache')
    actions.add_parser('list', help='names, addresses, what is here', description='What can be had and what is here.')


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    if args.action == 'list':
        _list()
    else:
        _get(args.name, args.offline)
    return 0


def _get(name: str, offline: bool) -> None:
    sys.stdout.write(f'{release_of(name).licence}\n')
    for path in get(name, offline):
        sys.stdout.write(f'{path}\n')


def _list() -> None:
    for name, release in RELEASES.items():
        folder = cache_folder('weights') / name
        here = all((folder / file).is_file() for file in release.gives)
        sys.stdout.write(f'{name}: {release.about}; {folder if here else "not here"}\n')
        for url in (url for file in release.takes for url in file.urls):
            sys.stdout.write(f'    {url} ({source_of(url)})\n')
        sys.stdout.write(f'    {release.licence}\n')
