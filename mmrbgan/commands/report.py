"""`mmrbgan report`: its flags; the work is in ``report.writer``, which `--help` does not wait for."""

import argparse
import shlex
import sys
from pathlib import Path

from . import evaluate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add all flags of `mmrbgan report`."""
    add = parser.add_argument
    add(
        'runs',
        nargs='+',
        metavar='RUN',
        help='records of `mmrbgan evaluate`: files, or folders of them; or what `basicsr test` left, results/NAME',
    )
    add(
        '-o',
        '--output',
        default='report',
        metavar='DIR',
        help='where report.{html,md,tex,json} go (default: %(default)s)',
    )
    add('--rank', metavar='METHOD', help='whose faces the sheets rank (default: the last one of each set)')
    add('--title', default='Restored faces, measured', help='heading of the page')
    add('--no-quoted', action='store_true', help="leave the paper's own numbers out")


def run(args: argparse.Namespace) -> int:
    """Write the report; return the exit status."""
    from ..report import writer

    for name in args.runs:
        _score(name)
    return writer.run(args)


def _score(run: str) -> None:
    """Make the records that the folder of a test run lacks."""
    from ..evaluation import scoring
    from ..report.unscored import evaluations

    parser = argparse.ArgumentParser()
    evaluate.add_arguments(parser)
    for flags in evaluations(Path(run)):
        sys.stdout.write(f'{run} is not scored yet: mmrbgan evaluate {shlex.join(flags)}\n')
        scoring.run(parser.parse_args(flags))
