"""The table of per-image metrics of `mmrbgan evaluate`: columns, direction, weights, and what a record says of each."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_model.metrics import identity, ifqa, inception, lpips_distance, niqe, psnr_ssim
from mmrbgan_model.metrics.landmark_distance import landmark_distance
from mmrbgan_model.metrics.tensors import file_hash, local_weights

from .columns import COLUMNS, METRICS

Scores = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class ImageMetric:
    """A metric over batches of pictures.

    Attributes:
        name: as in ``--metrics``.
        note: what a record says besides the file.
        file: its weights, None if it has none.
        needs_gt: whether it compares with the ground truth.
        score: RGB uint8 (b, h, w, 3) restored and ground truth -> column -> values (b,).
    """

    name: str
    note: str
    file: Path | None
    needs_gt: bool
    score: Callable[[np.ndarray, np.ndarray | None], Scores]

    def provenance(self) -> str:
        """Say by what this metric was computed."""
        return self.note if self.file is None else f'{self.note}; {self.file.name} sha256 {file_hash(self.file)}'


class MetricTable:
    """Builds the metrics asked for.

    Args:
        files: metric -> path of its weights, as the user gave them.
        device: torch's name.
    """

    def __init__(self, files: Mapping[str, str], device: str) -> None:
        for name in files:
            if name not in METRICS:
                raise UsageError(f'--weights: {nearest_key(name, METRICS)}')
        self.files = files
        self.device = device

    def choose(self, wanted: list[str] | None, has_gt: bool) -> tuple[list[ImageMetric], dict[str, str]]:
        """Return the per-image metrics to run and, by name, why others are left out.

        Raises:
            UsageError: a metric that was asked for by name cannot run.
        """
        for name in wanted or ():
            if name not in METRICS:
                raise UsageError(f'--metrics: {nearest_key(name, METRICS)}')
        chosen, left_out = [], {}
        for name in (name for name in wanted or METRICS if name != 'fid'):
            try:
                self._require_gt(name, has_gt)
                chosen.append(self._build(name, may_fetch=wanted is not None))
            except UsageError as error:
                if wanted is not None:
                    raise
                left_out[name] = str(error)
        return chosen, left_out

    def inception_file(self, may_fetch: bool) -> Path:
        """Return FID's network file, or raise UsageError."""
        return self._file('fid', inception.FILE, may_fetch, inception.weights_path, inception.ADDRESS)

    def _require_gt(self, name: str, has_gt: bool) -> None:
        if not has_gt and name not in ('niqe', 'ifqa'):
            raise UsageError(f'{name} compares with a ground truth; name one with --gt')

    def _build(self, name: str, may_fetch: bool) -> ImageMetric:
        kind, _, variant = name.partition('_')
        builders = {'lpips': self._lpips, 'identity': self._identity, 'ifqa': self._ifqa}
        return builders[kind](variant, may_fetch) if kind in builders else self._plain(name)

    def _plain(self, name: str) -> ImageMetric:
        plain: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray | None], np.ndarray]]] = {
            'psnr': ('RGB uint8, no border cut, scikit-image', psnr_ssim.psnr),
            'ssim': ('RGB uint8, per channel, 11x11 Gaussian, scikit-image', psnr_ssim.ssim),
            'niqe': ("Y, no border cut, BasicSR's model", lambda restored, _: self._niqe(restored)),
            'lmd': ("dlib's 68 points, pixels at 512", landmark_distance),
        }
        note, function = plain[name]
        return ImageMetric(name, note, None, name != 'niqe', lambda a, b: {name: function(a, b)})

    def _niqe(self, restored: np.ndarray) -> np.ndarray:
        """NIQE, and no value for pictures that are too small for it."""
        too_small = (restored.shape[1] // niqe.BLOCK) * (restored.shape[2] // niqe.BLOCK) < 2
        return np.full(len(restored), np.nan) if too_small else niqe.niqe(restored, self.device)

    def _lpips(self, net: str, may_fetch: bool) -> ImageMetric:
        backbone: lpips_distance.Backbone = 'vgg' if net == 'vgg' else 'alex'
        column, file_name = f'lpips_{backbone}', lpips_distance.FILES[backbone]
        _require_package('lpips')
        file = self._file(
            column, file_name, may_fetch, lambda: lpips_distance.weights_path(backbone), lpips_distance.ADDRESS
        )
        note = f'package lpips 0.1, {backbone}, RGB in [-1, 1]'
        return ImageMetric(
            column,
            note,
            file,
            True,
            lambda a, b: {column: lpips_distance.lpips(a, b, backbone, file, self.device)},
        )

    def _ifqa(self, _: str, may_fetch: bool) -> ImageMetric:
        file = self._file('ifqa', ifqa.FILE, may_fetch, ifqa.weights_path, ifqa.ADDRESS)
        note = 'CNN of AIM-SKKU/IFQA, RGB 256 px bilinear'
        return ImageMetric('ifqa', note, file, False, lambda a, _: {'ifqa': ifqa.ifqa(a, file, self.device)})

    def _identity(self, recogniser: str, may_fetch: bool) -> ImageMetric:
        name = f'identity_{recogniser}'
        file_name = identity.FILES[recogniser]
        if recogniser == 'dlib':
            file = identity.weights_path('dlib', self.files.get(name))
        else:
            file = self._file(
                name,
                file_name,
                may_fetch,
                lambda: identity.weights_path(recogniser),  # type: ignore[arg-type]
                identity.ARCFACE_ADDRESS,
            )

        def score(restored: np.ndarray, gt: np.ndarray | None) -> Scores:
            found = identity.identity(restored, gt, recogniser, file, self.device)  # type: ignore[arg-type]
            return {f'{name}_angle': found['angle'], f'{name}_cosine': found['cosine']}

        return ImageMetric(name, f'recogniser {recogniser}', file, True, score)

    def _file(self, name: str, file_name: str, may_fetch: bool, fetch: Callable[[], Path], address: str) -> Path:
        """Return the weights: the user's, those of a cache, or, for a metric asked for by name, a download."""
        found = local_weights(file_name, self.files.get(name))
        if found is not None:
            return found
        if may_fetch:
            return fetch()
        raise UsageError(f'{name} needs {file_name} ({address}): name it with --weights {name}=FILE')


def _require_package(name: str) -> None:
    import importlib.util

    if importlib.util.find_spec(name) is None:
        raise UsageError(f'the package {name} is not installed; `pip install {name}`')


def columns_of(metrics: list[ImageMetric]) -> list[str]:
    """Return the columns these metrics fill, in the order of tables."""
    names = {metric.name for metric in metrics}
    return [column for column in COLUMNS if any(column == name or column.startswith(f'{name}_') for name in names)]
