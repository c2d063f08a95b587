"""The work of `mmrbgan evaluate`: read the faces, score them in batches, summarise, write a record, print it."""

import argparse
import contextlib
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mmrbgan_arch.support.atomic_files import sha256_of, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics.fid import FID, FIDOptions, fid_of_features, jackknife_half_width
from mmrbgan_model.metrics.frechet import write_statistics
from mmrbgan_model.metrics.tensors import pick_device, to_unit

from . import timing
from .face_set import EvaluationSet, Pictures
from .metric_table import METRICS, ImageMetric, MetricTable, column, columns_of
from .poses import PoseFinder, find_poses, pose_masks
from .record import (
    PoseBin,
    Record,
    Summary,
    check_writable,
    file_name,
    free_path,
    summarise,
    versions,
    write_record,
)

OUT_FOLDER = Path('evaluations')
LEAST_FOR_FID = 10
NAME_ANOTHER_FOR_STATS = 'name another file with --save-stats'


def run(args: argparse.Namespace) -> int:
    """Score a folder and time networks, as the flags say."""
    if args.restored is None and args.time is None:
        raise UsageError('name a folder of restored faces, or --time; `mmrbgan evaluate --help` lists all flags')
    if args.restored is not None:
        _evaluate_and_write(args)
    if args.time is not None:
        timings = timing.time_networks(args.time, args.device, args.precision, args.repeats)
        _say(*map(str, timings))
        path = OUT_FOLDER / 'timing.json'
        with writing(path, 'start from another folder'):
            timing.write_timings(path, timings)
        _say(f'Record: {path}')
    return 0


def _evaluate_and_write(args: argparse.Namespace) -> None:
    """Score a folder; the numbers are on the terminal before anything is written."""
    wanted = Path(args.out) if args.out else OUT_FOLDER / file_name(_method(args))
    check_writable(wanted)
    _check_statistics(args.save_stats)
    record = evaluate(args)
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


def evaluate(args: argparse.Namespace) -> Record:
    """Score a folder of restored faces.

    Raises:
        UsageError: folders, files or flags that do not fit.
    """
    weights = _describe_weights(args.method_weights)
    faces = EvaluationSet(args.restored, args.gt, args.lq)
    if args.save_stats and len(faces.faces) < 2:
        raise UsageError(f'--save-stats: statistics take two faces or more; {args.restored!r} has one')
    table = MetricTable(_named_files(args.weights), args.device)
    metrics, left_out = table.choose(args.metrics, has_gt=args.gt is not None)
    fid = _fid(args, table, left_out)
    poses = find_poses(faces, args.landmarks) if args.by_pose else None
    rows = _score_all(faces, metrics, fid, poses, args.batch)
    if not rows:
        raise UsageError(f'{args.restored!r}: not one face could be read ({faces.excluded[0][1]})')
    if fid is not None and args.save_stats:
        _save_statistics(Path(args.save_stats), fid)
    columns = columns_of(metrics)
    return Record(
        method=_method(args),
        table=args.table or ('synthetic' if args.gt else 'real'),
        count=len(rows),
        folders={kind: str(source.root.resolve()) for kind, source in faces.sources.items()},
        hashes={kind: str(faces.digest(kind)) for kind in faces.sources},
        excluded=faces.excluded,
        summaries={name: summarise([row[name] for row in rows]) for name in columns} | _fid_summaries(fid, left_out),
        poses=_by_pose(rows, columns, fid) if poses else [],
        pose_source=poses.source if poses else None,
        provenance=_provenance(metrics, fid, args),
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


def _fid(args: argparse.Namespace, table: MetricTable, left_out: dict[str, str]) -> FID | None:
    """Return FID where it was asked for, or where its network is here; else note why not."""
    asked = bool(args.ffhq or args.save_stats or 'fid' in (args.metrics or ()))
    if args.metrics and not asked:
        return None
    try:
        if not (args.gt or args.ffhq or args.save_stats):
            raise UsageError('fid compares sets; name a ground truth with --gt or stored statistics with --ffhq')
        path = table.inception_file(may_fetch=asked)
        keep = args.fid_interval or args.by_pose
        return FID(FIDOptions(str(path), tuple(args.ffhq), keep, args.device))
    except UsageError as error:
        if asked:
            raise
        left_out['fid'] = str(error)
        return None


def _score_all(
    faces: EvaluationSet, metrics: list[ImageMetric], fid: FID | None, poses: PoseFinder | None, size: int
) -> list[dict[str, Any]]:
    """Return one row per face: name, yaw (with poses) and every column."""
    rows: list[dict[str, Any]] = []
    for batch in _batches(tqdm(faces, total=len(faces.faces), unit='face', disable=None), size):
        restored = np.stack([one.restored for one in batch])
        gt = None if batch[0].gt is None else np.stack([one.gt for one in batch if one.gt is not None])
        if fid is not None:
            fid.update(to_unit(restored), None if gt is None else to_unit(gt))
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


def _save_statistics(path: Path, fid: FID) -> None:
    """Write the statistics of the restored faces, making folders."""
    if fid.sums['restored'].count < 2:
        raise UsageError('--save-stats: statistics take two faces or more; only one could be read')
    with writing(path, NAME_ANOTHER_FOR_STATS):
        write_statistics(path, fid.sums['restored'].gaussian(), fid.network_hash)


def _fid_summaries(fid: FID | None, left_out: dict[str, str]) -> dict[str, Summary]:
    if fid is None:
        return {}
    try:
        found = fid.compute()
    except UsageError as error:
        left_out['fid'] = str(error)
        return {}
    count = int(found.pop('fid_n'))
    names = [name for name in found if not name.endswith(('_low', '_high'))]
    return {name: Summary(found[name], found.get(f'{name}_low'), found.get(f'{name}_high'), count) for name in names}


def _by_pose(rows: list[dict[str, Any]], columns: list[str], fid: FID | None) -> list[PoseBin]:
    bins = []
    for label, mask in pose_masks([row['yaw'] for row in rows]):
        part = [row for row, inside in zip(rows, mask, strict=True) if inside]
        summaries = {name: summarise([row[name] for row in part]) for name in columns}
        bins.append(PoseBin(label, len(part), summaries | _fid_of_part(fid, mask)))
    return bins


def _fid_of_part(fid: FID | None, mask: np.ndarray) -> dict[str, Summary]:
    """FID to the ground truth of these faces; fewer than ten have none worth printing."""
    if fid is None or not fid.sums['gt'].count or mask.sum() < LEAST_FOR_FID:
        return {}
    restored, gt = (fid.sums[kind].features()[mask] for kind in ('restored', 'gt'))
    value, half = fid_of_features(restored, gt), jackknife_half_width(restored, gt)
    return {'fid_gt': Summary(value, value - half, value + half, int(mask.sum()))}


def _provenance(metrics: list[ImageMetric], fid: FID | None, args: argparse.Namespace) -> dict[str, str]:
    found = {metric.row.name: metric.provenance() for metric in metrics}
    if fid is not None:
        stored = ''.join(f'; {Path(path).name} sha256 {sha256_of(path)[:16]}' for path in args.ffhq)
        found['fid'] = f'Inception sha256 {fid.network_hash}, {METRICS["fid"].note}{stored}'
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
    lines += [f'  {column(name).heading:26} {_show(name, one)}' for name, one in record.summaries.items()]
    for pose in record.poses:
        lines.append(f'{pose.label}: {pose.count} faces')
        lines += [f'  {column(name).heading:26} {_show(name, one)}' for name, one in pose.summaries.items()]
    lines += [f'left out: {name}: {reason}' for name, reason in record.left_out.items()]
    return lines + [f'excluded: {name}: {reason}' for name, reason in record.excluded]


def _show(name: str, summary: Summary) -> str:
    if summary.mean is None:
        return 'no value'
    digits = column(name).digits
    text = f'{summary.mean:.{digits}f}'
    if summary.low is not None and summary.high is not None:
        text += f'  [{summary.low:.{digits}f}, {summary.high:.{digits}f}]'
    return text + (f'  ({summary.infinite} infinite)' if summary.infinite else '')


def _say(*lines: str) -> None:
    sys.stdout.write('\n'.join(lines) + '\n')
    sys.stdout.flush()
