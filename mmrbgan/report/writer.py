"""The work of `mmrbgan report`: read records and timings, build tables, sheets and plots, write them in four forms."""

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

from mmrbgan_arch.support.atomic_files import write_text, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

from ..evaluation.record import FORMAT, Record, read_record
from ..evaluation.timing import FORMAT as TIMING_FORMAT
from ..evaluation.timing import Timing, read_timings
from .content import build_tables
from .page import build_page
from .plots import plot_methods, plot_poses
from .sheets import Sheet, make_sheets
from .tables import Table, to_data, to_latex, to_markdown

NAME_ANOTHER = 'name another folder with -o'


def run(args: argparse.Namespace) -> int:
    """Write report.html, .md, .tex and .json."""
    records, timings = read_runs(args.runs)
    folder = Path(args.output)
    with writing(folder, NAME_ANOTHER):
        folder.mkdir(parents=True, exist_ok=True)
    tables = build_tables(records, timings, quoted=not args.no_quoted)
    groups = _sets(records)
    sheets = [sheet for group in groups for sheet in make_sheets(group, _ranked(group, args.rank))]
    _write(folder, args.title, tables, sheets, _plots(groups))
    sys.stdout.write(
        f'{len(tables)} tables of {len(records)} records and {len(timings)} timings: {folder}/report.html\n'
    )
    return 0


def read_runs(runs: list[str]) -> tuple[list[Record], list[Timing]]:
    """Read every record and timing named, in order.

    Raises:
        UsageError: no such file, a folder without records, a file of another kind, or one method twice on one set.
    """
    records: list[Record] = []
    timings: list[Timing] = []
    for path in (file for run in runs for file in _files(Path(run))):
        if _format(path) == TIMING_FORMAT:
            timings += read_timings(path)
        else:
            records.append(read_record(path))
    keys = Counter((one.method, one.set_hash) for one in records if one.table != 'ablation')
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        raise UsageError(f'{twice[0][0]!r} comes twice on the set {twice[0][1]}; give one of them another --name')
    return records, timings


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.glob('*.json')) if _format(file) in (FORMAT, TIMING_FORMAT)]
    if not found:
        raise UsageError(f'{path}: no record of `mmrbgan evaluate` in this folder, and no test run of `basicsr test`')
    return found


def _format(path: Path) -> str | None:
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return content.get('format') if isinstance(content, dict) else None


def _sets(records: list[Record]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.table != 'ablation':
            groups.setdefault(record.set_hash, []).append(record)
    return list(groups.values())


def _ranked(group: list[Record], wanted: str | None) -> Record:
    return next((record for record in group if record.method == wanted), group[-1])


def _plots(groups: list[list[Record]]) -> list[tuple[str, str]]:
    plots = []
    for group in groups:
        plots += [(f'Methods, set {group[0].set_hash}', plot_methods(group))]
        plots += [(f'By pose, set {group[0].set_hash}', plot_poses(group))]
    return [(title, svg) for title, svg in plots if svg]


def _write(folder: Path, title: str, tables: list[Table], sheets: list[Sheet], plots: list[tuple[str, str]]) -> None:
    forms = {
        'report.html': build_page(title, tables, sheets, plots),
        'report.md': f'# {title}\n\n' + '\n'.join(map(to_markdown, tables)),
        'report.tex': '\n'.join(map(to_latex, tables)),
        'report.json': json.dumps({'tables': [to_data(table) for table in tables]}, indent=1, ensure_ascii=False)
        + '\n',
    }
    for name, text in forms.items():
        with writing(folder / name, NAME_ANOTHER):
            write_text(folder / name, text)
