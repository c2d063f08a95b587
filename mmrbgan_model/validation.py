"""Validation and testing: restore a loader's faces, score them and their inputs, write pictures and one sheet.

Metrics are BasicSR's (METRIC_REGISTRY, per image, BGR uint8); the degraded input is scored beside the restored face, so
that a log line tells whether restoring helped. Metrics over the whole set, such as FID, are ours (``SET_METRICS``).
"""

import logging
import math
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from mmrbgan_arch.support.atomic_files import write_bytes, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.contact_sheet import contact_sheet
from mmrbgan_data.datasets.dataset_options import resolve_root

from . import ranks
from .metric_entries import check_metric, make_set_metric, score
from .metrics import SET_METRICS, SetMetric
from .metrics.tensors import to_unit

_LOGGER = logging.getLogger('basicsr')


def to_picture(image: Tensor) -> np.ndarray:
    """(3, h, w) RGB in [-1, 1] -> RGB uint8 (h, w, 3); the tensor is left as it is."""
    scaled = (image.detach().float() + 1) * 127.5
    return scaled.round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy()


Place = tuple[str, str, str]
"""Metric, kind, group."""


@dataclass(frozen=True)
class Worst:
    """The group that gained least: its mean, and the change from its inputs."""

    group: str
    value: float
    change: float


@dataclass
class Averages:
    """Running means per metric, kind ('restored' or 'input') and group of faces.

    The group of all faces is ''. Infinite values (equal pictures) are counted apart.
    """

    sums: dict[Place, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[Place, int] = field(default_factory=lambda: defaultdict(int))
    infinite: int = 0

    def add(self, metric: str, kind: str, value: float, group: str = '') -> None:
        """Take one picture's value in, for all faces and for those of its group."""
        if not math.isfinite(value):
            self.infinite += 1
            return
        for each in {'', group}:
            self.sums[metric, kind, each] += value
            self.counts[metric, kind, each] += 1

    def merge(self, sums: Mapping[Place, float], counts: Mapping[Place, int], infinite: int) -> None:
        """Add the sums of another process."""
        for key, value in sums.items():
            self.sums[key] += value
            self.counts[key] += counts[key]
        self.infinite += infinite

    def mean(self, metric: str, kind: str, group: str = '') -> float | None:
        """The mean over the finite values of a group, None if there are none."""
        count = self.counts.get((metric, kind, group), 0)
        return self.sums[metric, kind, group] / count if count else None

    def worst(self, metric: str, better: str) -> Worst | None:
        """Return the group whose faces gained least over their inputs, None without groups."""
        sign = 1 if better == 'higher' else -1
        changes = []
        for group in sorted({group for name, kind, group in self.counts if name == metric and group}):
            means = [self.mean(metric, kind, group) for kind in ('restored', 'input')]
            if means[0] is not None and means[1] is not None:
                changes.append((sign * (means[0] - means[1]), Worst(group, means[0], means[0] - means[1])))
        return min(changes, key=lambda one: one[0])[1] if changes else None


@dataclass(frozen=True)
class Outcome:
    """What a validation found: means of the restored faces and of their inputs, and the sheet (RGB uint8)."""

    restored: Mapping[str, float]
    inputs: Mapping[str, float]
    faces: int
    infinite: int
    sheet: np.ndarray | None
    details: Mapping[str, float] = field(default_factory=dict)
    """What set metrics say besides their first value: the count, intervals, other references."""
    worst: Mapping[str, Worst] = field(default_factory=dict)
    """Metric -> the group that gained least, where faces are grouped."""

    def line(self, name: str) -> str:
        """One line for the log."""
        parts = [f'Validation {name}: {self.faces} faces']
        for metric, value in self.restored.items():
            before = self.inputs.get(metric)
            change = '' if before is None else f' (input {before:.4f}, change {value - before:+.4f})'
            worst = self.worst.get(metric)
            least = '' if worst is None else f' (least in {worst.group}: {worst.value:.4f}, change {worst.change:+.4f})'
            parts.append(f'{metric} {value:.4f}{change}{least}')
        parts += [f'{name} {value:.4f}' for name, value in self.details.items()]
        if self.infinite:
            parts.append(f'{self.infinite} infinite values left out of the means')
        return '  '.join(parts)


class Validator:
    """Restores, scores and collects, one batch at a time."""

    def __init__(
        self, metrics: Mapping[str, Mapping[str, Any]], sheet_faces: int, group_pattern: str | None = None
    ) -> None:
        """Prepare the metrics.

        Args:
            metrics: the yml's ``val.metrics``.
            sheet_faces: how many faces the sheet shows.
            group_pattern: regular expression whose first part in parentheses tells a face's group from its file name.
        """
        self.group_of = group_finder(group_pattern)
        self.columns = tuple(metrics)
        for name, options in metrics.items():
            check_metric(options, f'val.metrics.{name}')
        of_sets = {name: options for name, options in metrics.items() if options['type'] in SET_METRICS}
        self.set_metrics = {name: make_set_metric(name, options) for name, options in of_sets.items()}
        self.metrics = {name: options for name, options in metrics.items() if name not in of_sets}
        self.sheet_faces = sheet_faces
        self.averages = Averages()
        self.rows: list[list[np.ndarray]] = []
        self.faces = 0

    def add(self, lq: np.ndarray, restored: np.ndarray, gt: np.ndarray | None, path: str = '') -> None:
        """Take one face in: RGB uint8 pictures of the same size; ``path`` tells its group."""
        self.faces += 1
        if len(self.rows) < self.sheet_faces:
            self.rows.append([lq, restored] if gt is None else [lq, restored, gt])
        for name, options in self.metrics.items():
            for kind, picture in (('restored', restored), ('input', lq)):
                value = score(picture, gt, options)
                if value is not None:
                    self.averages.add(name, kind, value, self.group_of(path))
        for metric in self.set_metrics.values():
            metric.update(to_unit(restored[None]), None if gt is None else to_unit(gt[None]))

    def share(self) -> None:
        """Take in what the other processes found, each having restored every n-th face; a run of one has it all."""
        everyone = ranks.gather((dict(self.averages.sums), dict(self.averages.counts), self.averages.infinite))
        self.averages = Averages()
        for sums, counts, infinite in everyone:
            self.averages.merge(sums, counts, infinite)
        self.faces = sum(ranks.gather(self.faces))
        rows = ranks.gather(self.rows)
        in_order = [row for group in zip_longest(*rows) for row in group if row is not None]
        self.rows = in_order[: self.sheet_faces]
        for metric in self.set_metrics.values():
            for rank, state in enumerate(ranks.gather(metric.state())):
                if rank != ranks.rank_and_size()[0]:
                    metric.merge(state)

    def outcome(self) -> Outcome:
        """Means and sheet of what was taken in."""
        restored = {name: self.averages.mean(name, 'restored') for name in self.metrics}
        inputs = {name: self.averages.mean(name, 'input') for name in self.metrics}
        titles = ('input', 'restored', 'ground truth')
        sheet = contact_sheet(self.rows, titles[: max(map(len, self.rows))]) if self.rows else None
        known = {name: value for name, value in restored.items() if value is not None}
        before = {name: value for name, value in inputs.items() if value is not None}
        details: dict[str, float] = {}
        for name, metric in self.set_metrics.items():
            for place, (key, value) in enumerate(compute(name, metric).items()):
                (details if place else known)[key if place else name] = value
        known = {name: known[name] for name in self.columns if name in known}
        better = {name: options.get('better', 'higher') for name, options in self.metrics.items()}
        worst = {name: one for name in self.metrics if (one := self.averages.worst(name, better[name])) is not None}
        return Outcome(known, before, self.faces, self.averages.infinite, sheet, details, worst)


def group_finder(pattern: str | None) -> Callable[[str], str]:
    """Return path -> group, '' where ``pattern`` finds none in the file's name.

    Raises:
        UsageError: no regular expression with a part in parentheses.
    """
    try:
        compiled = re.compile(pattern or '()')
    except re.error as error:
        raise UsageError(f'val.group_pattern: {error}') from error
    if not compiled.groups:
        raise UsageError(f"val.group_pattern: {pattern!r} has no part in parentheses, such as '^me_([a-z]+)_'")
    return lambda path: (match[1] or '') if (match := compiled.search(Path(path).name)) else ''


def compute(name: str, metric: SetMetric) -> dict[str, float]:
    """Return a set metric's values; a set that it cannot score is a warning, since a long training hangs on it."""
    try:
        return metric.compute()
    except UsageError as error:
        _LOGGER.warning('%s: %s', name, error)
        return {}


def validate(
    restore: Callable[[Tensor], Tensor],
    loader: Iterable[Mapping[str, Any]],
    validator: Validator,
    save: Callable[[str, np.ndarray], None] | None,
    name: str,
) -> Outcome:
    """Run ``restore`` over a loader.

    Args:
        restore: (b, 3, s, s) in [-1, 1] -> the same.
        loader: batches with ``lq``, ``lq_path`` and, where known, ``gt``.
        validator: collects scores and rows of the sheet.
        save: called with (``lq_path``, RGB uint8 picture) for every restored face; None saves none.
        name: of the dataset, for the progress bar.

    Raises:
        UsageError: the loader is empty.
    """
    with torch.inference_mode():
        hidden = None if ranks.rank_and_size()[0] == 0 else True  # None: hidden where stderr is no terminal
        for batch in tqdm(own_share(loader), desc=name, unit='batch', leave=False, disable=hidden):
            restored = restore(batch['lq'])
            for i, path in enumerate(batch['lq_path']):
                gt = to_picture(batch['gt'][i]) if 'gt' in batch else None
                picture = to_picture(restored[i])
                validator.add(to_picture(batch['lq'][i]), picture, gt, path)
                if save is not None:
                    save(path, picture)
    validator.share()
    if not validator.faces:
        raise UsageError(f'{name}: no face to validate on; check the dataset in the option file')
    return validator.outcome()


def own_share(loader: Any) -> Any:
    """Return the loader of the faces that fall to this process: every n-th one of n processes."""
    rank, size = ranks.rank_and_size()
    if size == 1:
        return loader
    faces = Subset(loader.dataset, range(rank, len(loader.dataset), size))
    return DataLoader(faces, batch_size=loader.batch_size, num_workers=loader.num_workers)


def picture_name(path: str, section: Mapping[str, Any]) -> str:
    """Return the name under which a restored face is saved: its path below the dataset's root, without suffix.

    Args:
        path: the sample's ``lq_path``.
        section: the dataset's section of the yml. A path below none of its roots is cut to the file's stem.
    """
    file = Path(os.path.normpath(path))
    named = [section[key] for key in ('dataroot_lq', 'dataroot_gt') if section.get(key)]
    roots = [os.path.normpath(resolve_root(root).expanduser()) for root in named]
    inside = next((file.relative_to(root) for root in roots if file.is_relative_to(root)), Path(file.name))
    return str(inside.parent / inside.stem)


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write RGB uint8 as PNG, making folders, for any Unicode name.

    Raises:
        UsageError: it cannot be written.
    """
    encoded = cv2.imencode('.png', picture[..., ::-1])[1]
    with writing(path, 'make room on the disk, then run it again'):
        write_bytes(path, encoded.tobytes())
