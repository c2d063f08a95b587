"""From records to tables: sets never mix, quoted rows stand apart, an ablation's runs become an interval over seeds."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
from scipy import stats

from ..evaluation.record import Record, Summary
from ..evaluation.timing import Timing
from . import paper_numbers
from .tables import Cell, Row, Table

TITLES = {
    'synthetic': "Degraded faces with ground truth (the paper's Table 1)",
    'real': "Real low-quality faces (the paper's Tables 3 and 4)",
    'sr': "Face super-resolution, x4 bicubic (the paper's Table 2)",
}


def build_tables(records: list[Record], timings: list[Timing], quoted: bool) -> list[Table]:
    """Return every table that the records fill."""
    tables = [_set_table(kind, group, quoted) for kind in TITLES for group in _by_set(records, kind)]
    sets = [group for kind in TITLES for group in _by_set(records, kind)]
    tables += [_pose_table(group) for group in sets if group[0].poses]
    tables += [_group_table(group, name) for group in sets for name in group[0].groups]
    ablations = [record for record in records if record.table == 'ablation']
    if ablations:
        tables.append(_ablation_table(ablations, quoted))
    if timings:
        tables.append(_time_table(timings, quoted))
    return tables


def _by_set(records: Iterable[Record], kind: str) -> list[list[Record]]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.table == kind:
            groups[record.set_hash].append(record)
    return list(groups.values())


def _set_table(kind: str, records: list[Record], quoted: bool) -> Table:
    rows = [Row(record.method, _cells(record.summaries), describe(record)) for record in records]
    if quoted:
        rows += paper_numbers.quoted_rows(kind, ' '.join(records[0].folders.values()))
    set_hash = records[0].set_hash
    note = f'Set {set_hash}, N {_counts(records)}; 95 % intervals (bootstrap over faces; FID: jackknife over groups).'
    return Table(f'{kind}-{set_hash}', TITLES[kind], note, rows)


def describe(record: Record) -> str:
    """Return what a row rests on: set hash, N, exclusions, weights, backbones, versions."""
    parts = [f'set {record.set_hash}', f'N {record.count}']
    parts += [f'{len(record.excluded)} excluded'] if record.excluded else []
    parts += [f'result {record.hashes["restored"]}', f'weights {record.weights or "none named"}']
    parts += [f'{name}: {text}' for name, text in record.provenance.items()]
    parts.append('versions ' + ' '.join(f'{package} {version}' for package, version in record.versions.items()))
    return '; '.join(parts)


def _cells(summaries: Mapping[str, Summary]) -> dict[str, Cell]:
    return {
        name: Cell(one.mean, one.low, one.high, one.infinite) for name, one in summaries.items() if one.mean is not None
    }


def _counts(records: list[Record]) -> str:
    counts = sorted({record.count for record in records})
    return ' to '.join(map(str, {counts[0]: 0, counts[-1]: 0}))


def _pose_table(records: list[Record]) -> Table:
    rows = [
        Row(f'{record.method}, {pose.label}', _cells(pose.summaries), f'N {pose.count}')
        for record in records
        for pose in record.poses
    ]
    note = (
        f"Set {records[0].set_hash}; poses by the nose tip's offset from the middle of the eyes, in eye distances "
        f'(from {records[0].pose_source}); 95 % intervals.'
    )
    return Table(f'pose-{records[0].set_hash}', 'By pose', note, rows, competes=False)


def _group_table(records: list[Record], name: str) -> Table:
    rows = [
        Row(f'{record.method}, {part.label}', _cells(part.summaries), f'N {part.count}')
        for record in records
        for part in record.groups.get(name, ())
    ]
    note = f'Set {records[0].set_hash}; 95 % intervals.'
    return Table(f'{name}-{records[0].set_hash}', f'By {name}', note, rows, competes=False)


def _ablation_table(records: list[Record], quoted: bool) -> Table:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.method].append(record)
    rows = [
        Row(method, over_runs(group), f'{len(group)} seed(s); {describe(group[0])}') for method, group in groups.items()
    ]
    rows += paper_numbers.quoted_rows('ablation') if quoted else []
    return Table('ablation', "Ablations (the paper's Table 5)", 'Mean over seeds; 95 % t-intervals over seeds.', rows)


def over_runs(records: list[Record]) -> dict[str, Cell]:
    """Return mean and t-interval over runs of every column that all of them have."""
    names = [name for name in records[0].summaries if all(name in record.summaries for record in records)]
    cells = {}
    for name in names:
        means = [record.summaries[name].mean for record in records]
        values = np.array([mean for mean in means if mean is not None and math.isfinite(mean)])
        if len(values) == len(records):
            cells[name] = _interval(values)
    return cells


def _interval(values: np.ndarray) -> Cell:
    mean = float(values.mean())
    if len(values) < 2:
        return Cell(mean)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    return Cell(mean, mean - half, mean + half)


def _time_table(timings: list[Timing], quoted: bool) -> Table:
    rows = [Row(one.method, _time_cells(one), str(one).partition(' (')[2].rstrip(')')) for one in timings]
    rows += paper_numbers.quoted_rows('time') if quoted else []
    missing = dict.fromkeys(one.ifqa_missing for one in timings if one.ifqa_missing)
    note = 'Median over passes of one face at 512 px; in brackets the quartiles.'
    note += ''.join(f' IFQA is missing: {reason}.' for reason in missing)
    return Table('time', "Running time (the paper's Table 6)", note, rows)


def _time_cells(timing: Timing) -> dict[str, Cell]:
    ifqa = {} if timing.ifqa is None else {'ifqa': Cell(timing.ifqa)}
    return {**ifqa, 'seconds': Cell(timing.median, timing.low, timing.high)}
