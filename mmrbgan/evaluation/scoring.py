"""The work of `mmrbgan evaluate`: read the faces, score them in batches, summarise, write a record, print it."""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmrbgan_arch.support.atomic_files import sha256_of, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics.fid import FID
from mmrbgan_model.metrics.tensors import pick_device, to_unit

from ..restoring.files.share import Share
from . import timing
from .face_set import EvaluationSet, Pictures
from .groups import find_groups
from .metric_table import METRICS, ImageMetric, MetricTable, column, columns_of
from .poses import PoseFinder, find_poses, pose_masks
from .record import (
    Part,
    Record,
    Summary,
    check_writable,
    file_name,
    free_path,
    summarise,
    versions,
    write_record,
)
from .sets import LEAST, NAME_ANOTHER_FOR_STATS, build_sets, part_summaries, save_statistics, set_summaries

OUT_FOLDER = Path('evaluations')


def run(args: argparse.Namespace, share: Share | None = None) -> int:
    """Score a folder and time networks, as the flags say; ``share``: what this process does of the faces."""
    share = share or Share()
    if share.size > 1 and args.time is not None:
        raise UsageError('--time: one process is timed; start it without torchrun')
    if args.restored is None and args.time is None:
        raise UsageError('name a folder of restored faces, or --time; `mmrbgan evaluate --help` lists all flags')
    if args.restored is not None:
        _evaluate_and_write(args, share)
    if args.time is not None:
        timings = []
        for one in timing.time_networks(args):
            _say(str(one))
            timings.append(one)
        _say(*(f'left out: IFQA: {reason}' for reason in _reasons(timings)))
        path = OUT_FOLDER / 'timing.json'
        with writing(path, 'start from another folder'):
            timing.write_timings(path, timings)
        _say(f'Record: {path}')
    return 0


def _reasons(timings: list[timing.Timing]) -> list[str]:
    return list(dict.fromkeys(one.ifqa_missing for one in timings if one.ifqa_missing))


def score_video(args: argparse.Namespace) -> int:
    """Score a restored film, as the flags say; return 0."""
    from mmrbgan_data.detection import make_detector

    from . import film_scores

    if args.restored is None:
        raise UsageError('--video: name the restored film')
    out = args.out or str(OUT_FOLDER / f'{args.name or Path(args.restored).stem}_video.json')
    check_writable(Path(out))
    _say(*film_scores.run(args.restored, args.lq, args.gt, make_detector('auto'), out))
    return 0


def _evaluate_and_write(args: argparse.Namespace, share: Share) -> None:
    """Score a folder; the numbers are on the terminal before anything is written."""
    wanted = Path(args.out) if args.out else OUT_FOLDER / file_name(_method(args))
    check_writable(wanted)
    _check_statistics(args.save_stats)
    record = evaluate(args, share)
    if record is None:
        return
    _say(*_lines(record))
    path = wanted if args.out else free_path(wanted, record)
    write_record(path, record)
    _say(f'Record: {path}' if path == wanted else f'Record: {path}; {wanted}, of another set, is kept')


def _check_statistics(path: str | None) -> None:
    """Say before the work whether ``--save-stats`` can be written, and read again."""
    if path is None:
        return
    check_writable(Path(path), NAME_ANOTHER_FOR_STATS)
    if Path(path).suffix != '.npz':
        raise UsageError(f'--save-stats {path}: the name of such a file ends in .npz')


def evaluate(args: argparse.Namespace, share: Share) -> Record | None:
    """Score a folder of restored faces, or this process's ``share``; None but in the first process.

    Raises:
        UsageError: folders, files or flags that do not fit.
    """
    weights = _describe_weights(args.method_weights)
    faces = EvaluationSet(args.restored, args.gt, args.lq)
    if args.save_stats and len(faces.faces) < 2:
        raise UsageError(f'--save-stats: statistics take two faces or more; {args.restored!r} has one')
    table = MetricTable(_named_files(args.weights), args.device)
    metrics, left_out = table.choose(args.metrics, has_gt=args.gt is not None)
    sets = build_sets(args, table, left_out)
    groupings = find_groups(args.by, [face.name for face in faces.faces])
    poses = find_poses(faces, args.landmarks) if args.by_pose else None
    share.join()
    faces.share(share.rank, share.size, max(1, args.batch))
    rows = _score_all(faces, metrics, sets, poses, args.batch, show=share.rank == 0)
    found = share.gather((rows, faces.state(), [one.state() for one in sets]))
    if share.rank:
        return None
    rows = [row for part, _, _ in found for row in part]
    faces.finish(state for _, state, _ in found)
    for _, _, states in found[1:]:
        for one_set, state in zip(sets, states, strict=True):
            one_set.merge(state)
    if not rows:
        raise UsageError(f'{args.restored!r}: not one face could be read ({faces.excluded[0][1]})')
    if args.save_stats:
        save_statistics(Path(args.save_stats), sets)
    columns, names = columns_of(metrics), [row['name'] for row in rows]
    return Record(
        method=_method(args),
        table=args.table or ('synthetic' if args.gt else 'real'),
        count=len(rows),
        folders={kind: str(source.root.resolve()) for kind, source in faces.sources.items()},
        hashes={kind: faces.digest(kind) for kind in faces.sources},
        excluded=faces.excluded,
        summaries={name: summarise([row[name] for row in rows]) for name in columns} | set_summaries(sets, left_out),
        poses=_parts(pose_masks([row['yaw'] for row in rows]), rows, columns, sets) if poses else [],
        pose_source=poses.source if poses else None,
        groups={one.name: _parts(one.masks(names), rows, columns, sets) for one in groupings},
        provenance=_provenance(metrics, sets, args),
        left_out=left_out,
        faces=rows,
        weights=weights,
        device=str(pick_device(args.device)),
        versions=versions(),
    )


def _method(args: argparse.Namespace) -> str:
    return args.name or Path(args.restored).resolve().name


def _named_files(entries: list[str]) -> dict[str, str]:
    files = {}
    for entry in entries:
        name, equals, path = entry.partition('=')
        if not equals:
            raise UsageError(f'--weights {entry!r}: expected NAME=FILE, such as ifqa=IFQA_Metric.pth')
        if not Path(path).is_file():
            raise UsageError(f'--weights {entry!r}: no such file')
        files[name] = path
    return files


def _score_all(
    faces: EvaluationSet, metrics: list[ImageMetric], sets: list[FID], poses: PoseFinder | None, size: int, show: bool
) -> list[dict[str, Any]]:
    """Return one row per face: name, yaw (with poses) and every column."""
    rows: list[dict[str, Any]] = []
    for batch in _batches(tqdm(faces, total=len(faces.own), unit='face', disable=None if show else True), size):
        restored = np.stack([one.restored for one in batch])
        gt = None if batch[0].gt is None else np.stack([one.gt for one in batch if one.gt is not None])
        for one_set in sets:
            one_set.update(to_unit(restored), None if gt is None else to_unit(gt))
        scores = {name: values for metric in metrics for name, values in metric.scores(restored, gt).items()}
        for i, one in enumerate(batch):
            yaw = {} if poses is None else {'yaw': poses.yaw(one)}
            rows.append({'name': one.face.name, **yaw, **{name: float(values[i]) for name, values in scores.items()}})
    return rows


def _batches(faces: Iterable[Pictures], size: int) -> Iterator[list[Pictures]]:
    """Group neighbours of one shape, at most ``size``."""
    for _, same in groupby(faces, key=lambda one: one.restored.shape):
        batch: list[Pictures] = []
        for one in same:
            batch.append(one)
            if len(batch) == max(1, size):
                yield batch
                batch = []
        if batch:
            yield batch


def _parts(
    masks: list[tuple[str, np.ndarray]], rows: list[dict[str, Any]], columns: list[str], sets: list[FID]
) -> list[Part]:
    """Summarise the faces of every mask (n,)."""
    parts = []
    for label, mask in masks:
        inside = [row for row, chosen in zip(rows, mask, strict=True) if chosen]
        summaries = {name: summarise([row[name] for row in inside]) for name in columns}
        parts.append(Part(label, len(inside), summaries | part_summaries(sets, mask)))
    return parts


def _provenance(metrics: list[ImageMetric], sets: list[FID], args: argparse.Namespace) -> dict[str, str]:
    found = {metric.row.name: metric.provenance() for metric in metrics}
    stored = ''.join(f'; {Path(path).name} sha256 {sha256_of(path)[:16]}' for path in args.ffhq)
    for one in sets:
        text = f'{METRICS[one.name].note}; network sha256 {one.network_hash}'
        found[one.name] = text + (stored if one.name == 'fid' else '')
    return found


def _describe_weights(path: str | None) -> str | None:
    if path is None:
        return None
    with contextlib.suppress(OSError):
        return f'{Path(path).name} sha256 {sha256_of(path)[:16]}'
    raise UsageError(f'--method-weights: no such file: {path}')


def _lines(record: Record) -> list[str]:
    """The record as lines for the terminal."""
    lines = [f'{record.method}: {record.count} faces, set {record.set_hash}, on {record.device}']
    lines += _values(record.summaries)
    divisions = {'pose': record.poses, **record.groups}
    for name, parts in divisions.items():
        for part in parts:
            lines += [f'{name}: {part.label}: {part.count} faces', *_values(part.summaries)]
    for name, parts in divisions.items():
        lines += [f'worst {name}, of those with {LEAST} faces: {line}' for line in worst_parts(parts)]
    lines += [f'left out: {name}: {reason}' for name, reason in record.left_out.items()]
    return lines + [f'excluded: {name}: {reason}' for name, reason in record.excluded]


def worst_parts(parts: list[Part]) -> list[str]:
    """Return a line per column that names the part which does worst; parts of few faces do not count."""
    large = [part for part in parts if part.count >= LEAST]
    if len(large) < 2:
        return []
    lines = []
    for name in large[0].summaries:
        sign = 1 if column(name).better == 'higher' else -1
        scored = [(sign * value, part) for part in large if (value := part.summaries[name].mean) is not None]
        if scored:
            part = min(scored, key=lambda one: one[0])[1]
            lines.append(f'{column(name).heading:26} {part.label} {_show(name, part.summaries[name])}')
    return lines


def _values(summaries: Mapping[str, Summary]) -> list[str]:
    return [f'  {column(name).heading:26} {_show(name, one)}' for name, one in summaries.items()]


def _show(name: str, summary: Summary) -> str:
    if summary.mean is None:
        return 'no value'
    digits = column(name).digits
    text = f'{summary.mean:.{digits}f}'
    if summary.low is not None and summary.high is not None:
        text += f'  [{summary.low:.{digits}f}, {summary.high:.{digits}f}]'
    return text + (f'  ({summary.infinite} infinite)' if summary.infinite else '')


def _say(*lines: str) -> None:
    sys.stdout.write(''.join(f'{line}\n' for line in lines))
    sys.stdout.flush()
