"""The table of metrics of `mmrbgan evaluate`: columns, direction, weights, and the function that computes each.

A metric is one row. Its libraries are imported when it is built, so that `--help` and reports do not wait for torch.
"""

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from mmrbgan_arch.support.atomic_files import sha256_of
from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_arch.support.public_weights import FILES, PublicFile, find_weights, local_file

Scores = dict[str, np.ndarray]
Score = Callable[[np.ndarray, np.ndarray | None], Scores]
"""RGB uint8 (b, h, w, 3) restored and ground truth -> column -> values (b,)."""


@dataclass(frozen=True)
class Column:
    """A column of every table: heading, which way is better, digits after the point."""

    label: str
    better: Literal['higher', 'lower']
    digits: int

    @property
    def heading(self) -> str:
        """The label with an arrow the way that is better."""
        return f'{self.label} {"↑" if self.better == "higher" else "↓"}'


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Attributes:
        name: as in ``--metrics``.
        columns: what it fills, in the order of tables.
        note: what a record says of it besides its file.
        build: (its weights, torch's name of the device) -> what scores a batch; None for a metric of whole sets.
        file: its public weights, if it has some.
        package: what has to be installed for it.
        needs_gt: whether it compares with the ground truth.
    """

    name: str
    columns: Mapping[str, Column]
    note: str
    build: Callable[[Path | None, str], Score] | None
    file: PublicFile | None = None
    package: str | None = None
    needs_gt: bool = True


@dataclass(frozen=True)
class ImageMetric:
    """A row that is ready to score batches, with the weights it found."""

    row: Metric
    file: Path | None
    compute: Score

    def scores(self, restored: np.ndarray, gt: np.ndarray | None) -> Scores:
        """Score a batch, RGB uint8 (b, h, w, 3); every column of the row gets its values (b,)."""
        found = self.compute(restored, gt)
        assert set(found) == set(self.row.columns), f'{self.row.name} fills {", ".join(found)}, not its columns'
        return found

    def provenance(self) -> str:
        """Say by what this metric was computed."""
        if self.file is None:
            return self.row.note
        return f'{self.row.note}; {self.file.name} sha256 {sha256_of(self.file)[:16]}'


def _psnr(_: Path | None, __: str) -> Score:
    from mmrbgan_model.metrics.psnr_ssim import psnr

    return lambda restored, gt: {'psnr': psnr(restored, gt)}


def _ssim(_: Path | None, __: str) -> Score:
    from mmrbgan_model.metrics.psnr_ssim import ssim

    return lambda restored, gt: {'ssim': ssim(restored, gt)}


def _lmd(_: Path | None, __: str) -> Score:
    from mmrbgan_model.metrics.landmark_distance import landmark_distance

    return lambda restored, gt: {'lmd': landmark_distance(restored, gt)}


def _skin(_: Path | None, __: str) -> Score:
    from mmrbgan_model.metrics.skin_colour import skin_difference

    return lambda restored, gt: {'skin': skin_difference(restored, gt)}


def _lite0(file: Path | None, device: str) -> Score:
    from mmrbgan_model.metrics.efficientnet_lite import lite0_distance

    return lambda restored, gt: {'lite0': lite0_distance(restored, gt, file, device)}


def _niqe(_: Path | None, device: str) -> Score:
    from mmrbgan_model.metrics import niqe

    def score(restored: np.ndarray, _: np.ndarray | None) -> Scores:
        too_small = (restored.shape[1] // niqe.BLOCK) * (restored.shape[2] // niqe.BLOCK) < 2
        return {'niqe': np.full(len(restored), np.nan) if too_small else niqe.niqe(restored, device)}

    return score


def _ifqa(file: Path | None, device: str) -> Score:
    from mmrbgan_model.metrics.ifqa import ifqa

    return lambda restored, _: {'ifqa': ifqa(restored, file, device)}


def _lpips(net: Literal['alex', 'vgg']) -> Metric:
    def build(file: Path | None, device: str) -> Score:
        from mmrbgan_model.metrics.lpips_distance import lpips

        return lambda restored, gt: {name: lpips(restored, gt, net, file, device)}

    name, label = f'lpips_{net}', {'alex': 'Alex', 'vgg': 'VGG'}[net]
    note = f'package lpips 0.1, {net}, RGB in [-1, 1]'
    return Metric(name, {name: Column(f'LPIPS ({label})', 'lower', 4)}, note, build, FILES[name], package='lpips')


def _identity(recogniser: Literal['dlib', 'arcface', 'mobilefacenet'], label: str) -> Metric:
    def build(file: Path | None, device: str) -> Score:
        from mmrbgan_model.metrics.identity import identity

        def score(restored: np.ndarray, gt: np.ndarray | None) -> Scores:
            found = identity(restored, gt, recogniser, file, device)
            return {column: found[column.removeprefix(f'{name}_')] for column in columns}

        return score

    name = f'identity_{recogniser}'
    columns = {
        f'{name}_angle': Column(f'Angle ({label})', 'lower', 2),
        f'{name}_cosine': Column(f'Cosine ({label})', 'higher', 4),
    }
    if recogniser == 'dlib':  # whose own measure is the distance: below 0.6 is the same person
        columns[f'{name}_distance'] = Column(f'Distance ({label})', 'lower', 4)
    return Metric(name, columns, f'recogniser {recogniser}', build, FILES[recogniser])


_ROWS = (
    Metric('psnr', {'psnr': Column('PSNR', 'higher', 3)}, 'RGB uint8, no border cut, scikit-image', _psnr),
    Metric(
        'ssim',
        {'ssim': Column('SSIM', 'higher', 4)},
        'RGB uint8, per channel, 11x11 Gaussian, scikit-image',
        _ssim,
    ),
    _lpips('alex'),
    _lpips('vgg'),
    Metric(
        'lite0',
        {'lite0': Column('Lite0 distance', 'lower', 4)},
        "EfficientNet-Lite0's maps, 224 px bilinear, antialiased",
        _lite0,
        FILES['efficientnet_lite0'],
    ),
    Metric('niqe', {'niqe': Column('NIQE', 'lower', 3)}, "Y, no border cut, BasicSR's model", _niqe, needs_gt=False),
    Metric(
        'ifqa',
        {'ifqa': Column('IFQA', 'higher', 4)},
        'CNN of AIM-SKKU/IFQA, RGB 256 px bilinear',
        _ifqa,
        FILES['ifqa'],
        needs_gt=False,
    ),
    _identity('dlib', 'dlib'),
    _identity('arcface', 'ArcFace'),
    _identity('mobilefacenet', 'MobileFaceNet'),
    Metric('lmd', {'lmd': Column('LMD', 'lower', 3)}, "dlib's 68 points, pixels at 512", _lmd),
    Metric('skin', {'skin': Column('Skin ΔE', 'lower', 2)}, 'CIEDE2000 of the mean of the middle of the face', _skin),
    Metric(
        'fid', {'fid_gt': Column('FID to GT', 'lower', 3)}, '299 px bilinear, no antialias', None, FILES['inception']
    ),
    Metric(
        'frechet_lite0',
        {'frechet_lite0_gt': Column('Fréchet (Lite0) to GT', 'lower', 3)},
        "EfficientNet-Lite0's features, 224 px bilinear, antialiased",
        None,
        FILES['efficientnet_lite0'],
    ),
)
METRICS = {row.name: row for row in _ROWS}


def column(name: str) -> Column:
    """Return the column; FID to stored statistics is named after their file.

    Raises:
        UsageError: no metric fills it.
    """
    columns = {key: value for row in METRICS.values() for key, value in row.columns.items()}
    if name in columns:
        return columns[name]
    if name.startswith('fid_'):
        return Column(f'FID to {name.removeprefix("fid_")}', 'lower', 3)
    raise UsageError(f'no metric of this version has the column {name!r}')


class MetricTable:
    """Builds the metrics asked for.

    Args:
        files: metric -> path of its weights, as the user gave them.
        device: torch's name.

    Raises:
        UsageError: a file for a metric that does not exist.
    """

    def __init__(self, files: Mapping[str, str], device: str) -> None:
        _check_names('--weights', files)
        self.files = files
        self.device = device

    def choose(self, wanted: list[str] | None, has_gt: bool) -> tuple[list[ImageMetric], dict[str, str]]:
        """Return the per-image metrics to run and, by name, why others are left out.

        Raises:
            UsageError: a metric that was asked for by name cannot run.
        """
        _check_names('--metrics', wanted or ())
        chosen, left_out = [], {}
        for name in wanted or METRICS:
            try:
                chosen += self._build(METRICS[name], has_gt, may_fetch=wanted is not None)
            except UsageError as error:
                if wanted is not None:
                    raise
                left_out[name] = str(error)
        return chosen, left_out

    def network_file(self, name: str, may_fetch: bool) -> Path | None:
        """Return the network file of a metric of whole sets, or raise UsageError."""
        return self._weights(METRICS[name], may_fetch)

    def _build(self, row: Metric, has_gt: bool, may_fetch: bool) -> list[ImageMetric]:
        if row.build is None:
            return []
        if row.needs_gt and not has_gt:
            raise UsageError(f'{row.name} compares with a ground truth; name one with --gt')
        if row.package and importlib.util.find_spec(row.package) is None:
            raise UsageError(f'the package {row.package} is not installed; `pip install {row.package}`')
        file = self._weights(row, may_fetch)
        return [ImageMetric(row, file, row.build(file, self.device))]

    def _weights(self, row: Metric, may_fetch: bool) -> Path | None:
        """Return the weights: the user's, those of a cache, or, for a metric asked for by name, a download."""
        if row.file is None:
            return None
        found = local_file(row.file, self.files.get(row.name))
        if found is None and not may_fetch:
            raise UsageError(
                f'{row.name} needs {row.file.name} ({row.file.address}): name it with --weights {row.name}=FILE'
            )
        return found or find_weights(row.file, None, f'--weights {row.name}=FILE', f'leave {row.name} out')


def columns_of(metrics: Iterable[ImageMetric]) -> list[str]:
    """Return the columns these metrics fill, in the order of tables."""
    chosen = {metric.row.name for metric in metrics}
    return [name for row in METRICS.values() if row.name in chosen for name in row.columns]


def _check_names(flag: str, names: Iterable[str]) -> None:
    for name in names:
        if name not in METRICS:
            raise UsageError(f'{flag}: {nearest_key(name, METRICS)}')
