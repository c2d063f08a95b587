"""The report as one HTML page that needs nothing else: sortable tables, sheets and plots inside."""

import base64
import html
import math
from collections.abc import Sequence

import cv2

from .sheets import Sheet
from .tables import Row, Table, heading, show

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1500px; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } p.note { color: #556; margin: .2rem 0 .6rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .5rem; text-align: right; border-bottom: 1px solid #e3e7ee; }
td { white-space: nowrap; } td small { display: block; }
th:first-child, td:first-child { text-align: left; } th { cursor: pointer; user-select: none; background: #f4f6fa; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid #1f5fa8; }
th[aria-sort=ascending]::after { content: ' \\25B2'; } th[aria-sort=descending]::after { content: ' \\25BC'; }
tr.quoted { font-style: italic; color: #667; } td.best { font-weight: 700; }
small { color: #667; font-weight: 400; } details { margin: .4rem 0; } details li { overflow-wrap: anywhere; }
img, svg { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #556; }
"""

SCRIPT = """
document.querySelectorAll('th button').forEach(button => button.addEventListener('click', () => {
  const head = button.parentElement, row = head.parentElement, body = row.closest('table').tBodies[0];
  const place = [...row.children].indexOf(head), up = head.getAttribute('aria-sort') !== 'ascending';
  [...row.children].forEach(other => other.removeAttribute('aria-sort'));
  head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
  const value = line => line.children[place].dataset.value;
  const compare = (a, b) => {
    const x = value(a), y = value(b);
    if (x === '' || y === '') return (x === '') - (y === '');
    const difference = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return up ? difference : -difference;
  };
  [...body.rows].sort(compare).forEach(line => body.append(line));
}));
"""


def build_page(title: str, tables: Sequence[Table], sheets: Sequence[Sheet], plots: Sequence[tuple[str, str]]) -> str:
    """Return the page.

    Args:
        title: of the page.
        tables: in order.
        sheets: pictures, put in as JPEG.
        plots: (heading, SVG).
    """
    parts = [_table(table) for table in tables]
    parts += [f'<h2>{html.escape(name)}</h2><figure>{svg}</figure>' for name, svg in plots]
    parts += [_sheet(sheet) for sheet in sheets]
    parts.append(_foundations(tables))
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{html.escape(title)}</title><style>{STYLE}</style></head>'
    )
    guide = '<p class="note">Click a heading to sort. Italic rows are quoted from the paper and never compete.</p>'
    body = f'<body><h1>{html.escape(title)}</h1>{guide}{"".join(parts)}<script>{SCRIPT}</script></body></html>'
    return f'{head}\n{body}\n'


def _table(table: Table) -> str:
    names = table.columns
    heads = ''.join(f'<th scope="col"><button>{html.escape(heading(name).heading)}</button></th>' for name in names)
    rows = ''.join(_row(table, row, names) for row in table.rows)
    title, note = html.escape(table.title), html.escape(table.note)
    return (
        f'<h2 id="{html.escape(table.key)}">{title}</h2><p class="note">{note}</p>'
        f'<div class="scroll"><table><thead><tr><th scope="col"><button>Method</button></th>{heads}</tr></thead>'
        f'<tbody>{rows}</tbody></table></div>'
    )


def _row(table: Table, row: Row, names: list[str]) -> str:
    method = html.escape(row.method)
    cells = [f'<td data-value="{method}">{method}</td>']
    for name in names:
        cell = row.cells.get(name)
        value = '' if cell is None else ('Infinity' if math.isinf(cell.mean) else repr(float(cell.mean)))
        best = ' class="best"' if cell and not row.quoted and cell.mean == table.best(name) else ''
        shown = html.escape(show(name, cell, interval=False, quoted=row.quoted))
        interval = show(name, cell).partition(' ')[2]
        small = f' <small>{html.escape(interval)}</small>' if interval else ''
        cells.append(f'<td data-value="{value}"{best}>{shown}{small}</td>')
    kind = ' class="quoted"' if row.quoted else ''
    return f'<tr{kind} title="{html.escape(row.about, quote=True)}">{"".join(cells)}</tr>'


def _sheet(sheet: Sheet) -> str:
    encoded = cv2.imencode('.jpg', sheet.picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    source = 'data:image/jpeg;base64,' + base64.b64encode(encoded.tobytes()).decode()
    title, note = html.escape(sheet.title), html.escape(sheet.note)
    return f'<h2>{title}</h2><figure><img alt="{title}" src="{source}"><figcaption>{note}</figcaption></figure>'


def _foundations(tables: Sequence[Table]) -> str:
    """List what every row rests on, for whoever wants to check it."""
    lines = [f'<li><b>{html.escape(row.method)}</b>: {html.escape(row.about)}</li>' for t in tables for row in t.rows]
    summary = '<summary>Sets, weights, backbones, versions</summary>'
    return f'<h2>What every row rests on</h2><details open>{summary}<ul>{"".join(lines)}</ul></details>'
