"""Plots of a report as SVG text: every metric by method, and by pose, with intervals."""

import io
import math
import warnings
from collections.abc import Callable, Iterable
from textwrap import shorten
from typing import Any

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..evaluation.metric_table import column
from ..evaluation.record import Record, Summary

SETTINGS: Any = {
    'font.size': 9,
    'svg.fonttype': 'none',
    'text.parse_math': False,
    'axes.spines.top': False,
    'axes.spines.right': False,
}
COLUMNS_PER_ROW = 3
NAME = 28  # letters of a method's name beside its points


def plot_methods(records: list[Record]) -> str:
    """Return one panel per metric: a point and an interval per method; '' if there is nothing to compare."""
    names = [name for name in _names(records) if _finite(record.summaries.get(name) for record in records)]
    if not names or len(records) < 2:
        return ''

    def draw(axes: Any, name: str) -> None:
        for place, record in enumerate(reversed(records)):
            _point(axes, record.summaries.get(name), place, horizontal=True)
        axes.set_yticks(
            range(len(records)), [shorten(record.method, NAME, placeholder='…') for record in records[::-1]]
        )
        axes.set_ylim(-0.5, len(records) - 0.5)
        axes.locator_params(axis='x', nbins=4)

    return _panels(names, draw, height=0.28 * len(records) + 0.8, same_y=True)


def plot_poses(records: list[Record]) -> str:
    """Return one panel per metric: a line per method over the poses, with intervals."""
    labels = list(dict.fromkeys(pose.label for record in records for pose in record.poses))
    names = [name for name in _names(records) if len(labels) > 1]

    def draw(axes: Any, name: str) -> None:
        for index, record in enumerate(records):
            found = [(labels.index(pose.label), pose.summaries.get(name)) for pose in record.poses]
            kept = [(place, one) for place, one in found if _finite([one])]
            shift = 0.06 * (index - (len(records) - 1) / 2)
            line = axes.plot([place + shift for place, _ in kept], [one.mean for _, one in kept if one], lw=1)
            for place, one in kept:
                _point(axes, one, place + shift, horizontal=False, colour=line[0].get_color())
            line[0].set_label(record.method)
        axes.set_xticks(range(len(labels)), [label.partition(',')[0] for label in labels])

    return _panels(names, draw, height=2.3, legend=True) if names else ''


def _names(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.summaries))


def _finite(summaries: Iterable[Summary | None]) -> bool:
    return any(one is not None and one.mean is not None and math.isfinite(one.mean) for one in summaries)


def _point(axes: Any, one: Summary | None, place: float, horizontal: bool, colour: str = '#1f5fa8') -> None:
    if one is None or one.mean is None or not _finite([one]):
        return
    ends = [[one.mean - one.low], [one.high - one.mean]] if one.low is not None and one.high is not None else None
    if horizontal:
        axes.errorbar([one.mean], [place], xerr=ends, fmt='o', ms=4, color=colour, capsize=2)
    else:
        axes.errorbar([place], [one.mean], yerr=ends, fmt='o', ms=4, color=colour, capsize=2)


def _panels(
    names: list[str], draw: Callable[[Any, str], None], height: float, legend: bool = False, same_y: bool = False
) -> str:
    """Lay the metrics out in rows of panels and return the SVG."""
    import matplotlib

    rows = math.ceil(len(names) / COLUMNS_PER_ROW)
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(11, rows * height + 0.2), layout='constrained')
        FigureCanvasSVG(figure)
        grid = figure.subplots(rows, COLUMNS_PER_ROW, squeeze=False, sharey=same_y).flatten()
        for axes, name in zip(grid, names, strict=False):
            draw(axes, name)
            axes.set_title(column(name).heading, loc='left', fontsize=9)
            axes.grid(alpha=0.25)
        for axes in grid[len(names) :]:
            axes.set_visible(False)
        if legend:
            figure.legend(*grid[0].get_legend_handles_labels(), loc='outside lower center', ncols=6, frameon=False)
        text = io.StringIO()
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Glyph')  # of a name: it is the browser that draws the letters
            figure.savefig(text, format='svg', metadata={'Date': None})
    return text.getvalue()[text.getvalue().index('<svg') :]
