"""Rows quoted from the paper (arXiv 2205.14377v3, Tables 1 to 6); measured by its authors, on their own sets."""

import functools
import json
from pathlib import Path
from typing import Any

from .tables import Cell, Row

FILE = Path(__file__).with_name('paper_tables.json')


def quoted_rows(kind: str, place: str = '') -> list[Row]:
    """Return the paper's rows for a table of a report.

    Args:
        kind: 'synthetic' (Table 1), 'sr' (2), 'real' (3 and 4), 'ablation' (5) or 'time' (6).
        place: where the measured faces lie; of real sets, only those whose name is in it, or all if none is.
    """
    tables = [table for table in _tables() if table['kind'] == kind]
    named = [table for table in tables if table['dataset'].lower() in place.lower()]
    return [row for table in named or tables for row in _rows(table, len(named or tables) > 1)]


def _rows(table: dict[str, Any], several: bool) -> list[Row]:
    source = f'paper, {table["dataset"]}' if several else 'paper'
    about = f'quoted: Table {table["table"]}, {table["about"]}'
    return [
        Row(f'{method} ({source})', {name: Cell(float(value)) for name, value in cells.items()}, about, quoted=True)
        for method, cells in table['rows'].items()
    ]


@functools.cache
def _tables() -> list[dict[str, Any]]:
    result: list[dict[str, Any]] = json.loads(FILE.read_text(encoding='utf-8'))['tables']
    return result
