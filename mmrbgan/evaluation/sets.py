"""Metrics over whole sets in an evaluation: which are built, what they give for the set and for its parts."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.atomic_files import writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics.efficientnet_lite import frechet_lite0
from mmrbgan_model.metrics.fid import FID, FIDOptions, fid_of_features, jackknife_half_width
from mmrbgan_model.metrics.frechet import write_statistics

from .metric_table import MetricTable
from .record import Summary

LEAST = 10
"""Faces of a part below which a distance of sets, or a worst part, is not worth printing."""
NAME_ANOTHER_FOR_STATS = 'name another file with --save-stats'


def build_sets(args: argparse.Namespace, table: MetricTable, left_out: dict[str, str]) -> list[FID]:
    """Return FID and its like where they were asked for, or where their networks are here; else note why not."""
    keep = bool(args.fid_interval or args.by_pose or args.by)
    wanted = args.metrics or ('fid', 'frechet_lite0')
    found = []
    if 'fid' in wanted or args.ffhq or args.save_stats:
        found.append(_build('fid', args, table, left_out, tuple(args.ffhq), keep))
    if 'frechet_lite0' in wanted:
        found.append(_build('frechet_lite0', args, table, left_out, (), keep))
    return [one for one in found if one is not None]


def _build(
    name: str,
    args: argparse.Namespace,
    table: MetricTable,
    left_out: dict[str, str],
    statistics: tuple[str, ...],
    keep: bool,
) -> FID | None:
    saves = name == 'fid' and args.save_stats
    asked = bool(statistics or saves or name in (args.metrics or ()))
    try:
        if not (args.gt or statistics or saves):
            raise UsageError(f'{name} compares sets; name a ground truth with --gt (fid: or statistics with --ffhq)')
        options = FIDOptions(str(table.network_file(name, may_fetch=asked)), statistics, keep, args.device)
        return FID(options) if name == 'fid' else frechet_lite0(options)
    except UsageError as error:
        if asked:
            raise
        left_out[name] = str(error)
        return None


def set_summaries(sets: Sequence[FID], left_out: dict[str, str]) -> dict[str, Summary]:
    """Return the values over the whole set."""
    summaries: dict[str, Summary] = {}
    for one in sets:
        try:
            found = one.compute()
        except UsageError as error:
            left_out[one.name] = str(error)
            continue
        count = int(found.pop(f'{one.name}_n'))
        names = [name for name in found if not name.endswith(('_low', '_high'))]
        summaries |= {
            name: Summary(found[name], found.get(f'{name}_low'), found.get(f'{name}_high'), count) for name in names
        }
    return summaries


def part_summaries(sets: Sequence[FID], mask: np.ndarray) -> dict[str, Summary]:
    """Return the distances to the ground truth of the faces in ``mask`` (n,); fewer than ten have none."""
    if mask.sum() < LEAST:
        return {}
    return {f'{one.name}_gt': _of_part(one, mask) for one in sets if one.sums['gt'].count}


def _of_part(one: FID, mask: np.ndarray) -> Summary:
    restored, gt = (one.sums[kind].features()[mask] for kind in ('restored', 'gt'))
    value, half = fid_of_features(restored, gt), jackknife_half_width(restored, gt)
    return Summary(value, value - half, value + half, int(mask.sum()))


def save_statistics(path: Path, sets: Sequence[FID]) -> None:
    """Write the statistics of the restored faces, making folders."""
    fid = next(one for one in sets if one.name == 'fid')
    if fid.sums['restored'].count < 2:
        raise UsageError('--save-stats: statistics take two faces or more; only one could be read')
    with writing(path, NAME_ANOTHER_FOR_STATS):
        write_statistics(path, fid.sums['restored'].gaussian(), fid.network_hash)
