"""Tables of a report: rows of cells with intervals, and their forms in Markdown, LaTeX and plain data."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from ..evaluation.metric_table import Column, column

EXTRA_COLUMNS = {
    'lpips_paper': Column('LPIPS, quoted', 'lower', 3),  # backbone unstated
    'fid_paper': Column('FID, quoted', 'lower', 3),  # reference unstated; its GT row is 2.478: not to the ground truth
    'seconds': Column('Seconds', 'lower', 4),
}
QUOTED_DIGITS = 3  # the paper's, in every column


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value, its 95 % interval where known, and how many values were infinite."""

    mean: float
    low: float | None = None
    high: float | None = None
    infinite: int = 0


@dataclasses.dataclass(frozen=True)
class Row:
    """A method's values by column, what they rest on, and whether they are someone else's words."""

    method: str
    cells: dict[str, Cell]
    about: str
    quoted: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table: heading, note, rows; the columns are those that any row fills."""

    key: str
    title: str
    note: str
    rows: list[Row]
    competes: bool = True
    """Whether a best value means anything; rows of different poses do not compete."""

    @property
    def columns(self) -> list[str]:
        """Names of the filled columns, those of measured rows first."""
        measured_first = sorted(self.rows, key=lambda row: row.quoted)
        return list(dict.fromkeys(name for row in measured_first for name in row.cells))

    def best(self, name: str) -> float | None:
        """The best measured value of a column; quoted ones are of another set and do not compete."""
        values = [row.cells[name].mean for row in self.rows if name in row.cells and not row.quoted]
        if len(values) < 2 or not self.competes:
            return None
        return max(values) if heading(name).better == 'higher' else min(values)


def heading(name: str) -> Column:
    """Return label, direction and digits of a column."""
    return EXTRA_COLUMNS.get(name) or column(name)


def show(name: str, cell: Cell | None, interval: bool = True, quoted: bool = False) -> str:
    """Return a cell as text; a quoted one with as many digits as the paper gives."""
    if cell is None:
        return '-'
    digits = QUOTED_DIGITS if quoted else heading(name).digits
    text = 'inf' if math.isinf(cell.mean) else f'{cell.mean:.{digits}f}'
    if interval and cell.low is not None and cell.high is not None:
        text += f' [{cell.low:.{digits}f}, {cell.high:.{digits}f}]'
    return text


def to_markdown(table: Table) -> str:
    """Return heading, note and a pipe table; the best measured value of a column is bold, quoted rows are italic."""
    names = table.columns
    lines = [f'## {table.title}', '', table.note, '']
    lines.append('| Method | ' + ' | '.join(heading(name).heading for name in names) + ' | What it rests on |')
    lines.append('| --- |' + ' ---: |' * len(names) + ' --- |')
    for row in table.rows:
        cells = _cells(table, row, lambda text: f'**{text}**')
        method = f'*{row.method}*' if row.quoted else row.method
        lines.append(f'| {method} | ' + ' | '.join(cells) + f' | {row.about} |')
    return '\n'.join(lines) + '\n'


def to_latex(table: Table) -> str:
    """Return a ``table`` with booktabs rules; intervals are left to the other forms."""
    names = table.columns
    arrows = {'higher': r'$\uparrow$', 'lower': r'$\downarrow$'}
    heads = [f'{_escape(heading(name).label)} {arrows[heading(name).better]}' for name in names]
    lines = [r'\begin{table}', rf'\caption{{{_escape(table.title)}. {_escape(table.note)}}}', r'\centering']
    lines += [rf'\begin{{tabular}}{{l{"r" * len(names)}}}', r'\toprule']
    lines += ['Method & ' + ' & '.join(heads) + r' \\', r'\midrule']
    for row in table.rows:
        cells = _cells(table, row, lambda text: rf'\textbf{{{text}}}', interval=False)
        method = rf'\emph{{{_escape(row.method)}}}' if row.quoted else _escape(row.method)
        lines.append(f'{method} & ' + ' & '.join(cells) + r' \\')
    return '\n'.join([*lines, r'\bottomrule', r'\end{tabular}', r'\end{table}']) + '\n'


def to_data(table: Table) -> dict[str, Any]:
    """Return the table as plain data for JSON; infinity is written as a word."""
    data = dataclasses.asdict(table)
    for row in data['rows']:
        for cell in row['cells'].values():
            cell['mean'] = 'inf' if math.isinf(cell['mean']) else cell['mean']
    return data


def _cells(table: Table, row: Row, embolden: Callable[[str], str], interval: bool = True) -> list[str]:
    texts = []
    for name in table.columns:
        cell = row.cells.get(name)
        text = show(name, cell, interval, row.quoted)
        is_best = cell is not None and not row.quoted and cell.mean == table.best(name)
        texts.append(embolden(text) if is_best else text)
    return texts


def _escape(text: str) -> str:
    for letter in '\\&%$#_{}':
        text = text.replace(letter, r'\textbackslash ' if letter == '\\' else f'\\{letter}')
    return text
