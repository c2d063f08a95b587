"""FID over a set (Heusel et al., 2017): a set metric, since it is no average over images.

Sums, not features, are kept, so memory does not grow with the number of images; an interval (or a part of the set)
needs the features, 8 KB per image.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmrbgan_arch.support.atomic_files import sha256_of
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.ranges import Device

from .frechet import Gaussian, frechet_distance, read_statistics
from .inception import FEATURES, load_inception, weights_path
from .tensors import pick_device

GROUPS = 20  # of the jackknife
NORMAL_95 = 1.96  # standard errors in half a 95 % interval


class FeatureSums:
    """Features (n, d) of a set, folded into count, sum and sum of outer products whenever ``size`` of them have come.

    Up to ``size`` images the features take less room than their sums, and the distance is computed faster from them.

    Args:
        size: d.
        keep: never fold.
    """

    def __init__(self, size: int = FEATURES, keep: bool = False) -> None:
        self.size = size
        self.keep = keep
        self.kept: list[np.ndarray] = []
        self.folded = 0
        self.total = np.zeros(size)
        self.outer: np.ndarray | float = 0.0

    @property
    def count(self) -> int:
        """How many images were taken in."""
        return self.folded + sum(map(len, self.kept))

    def add(self, features: np.ndarray) -> None:
        """Take features (b, d) in."""
        self.kept.append(features.astype(np.float32))
        if not self.keep and self.count - self.folded > self.size:
            self._fold()

    def features(self) -> np.ndarray:
        """Return what is not folded, (n, d)."""
        return np.concatenate([np.zeros((0, self.size), np.float32), *self.kept])

    def gaussian(self) -> Gaussian:
        """Return mean and unbiased covariance; two images at least."""
        if not self.folded:
            return Gaussian.of_features(self.features())
        self._fold()
        mean = self.total / self.folded
        covariance = (self.outer - self.folded * np.outer(mean, mean)) / (self.folded - 1)
        return Gaussian(mean, covariance, self.folded)

    def state(self) -> dict[str, Any]:
        """Return everything as plain arrays and numbers, to be sent to another rank."""
        return {'folded': self.folded, 'total': self.total, 'outer': self.outer, 'features': self.features()}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Take another rank's state in."""
        self.folded += int(state['folded'])
        self.total = self.total + state['total']
        self.outer = self.outer + state['outer']
        self.add(state['features'])

    def _fold(self) -> None:
        features = self.features().astype(np.float64)
        self.folded += len(features)
        self.total = self.total + features.sum(axis=0)
        self.outer = self.outer + features.T @ features
        self.kept = []


@dataclasses.dataclass(frozen=True)
class FIDOptions:
    """Keys of a FID entry in ``val.metrics``."""

    weights: str | None = None
    """Path of pt_inception-2015-12-05-6726825d.pth; None: a cache, else a download."""
    statistics: tuple[str, ...] = ()
    """Files of stored statistics to compare with as well, such as FFHQ's."""
    interval: bool = False
    """Keep the features and give a 95 % interval (jackknife over groups)."""
    device: Device | None = None
    """torch's name; None: CUDA where there is one."""


class FID:
    """FID of the restored faces to the ground truth of the set and to stored statistics.

    Args:
        options: see ``FIDOptions``.
        network: features (b, 3, h, w) in [0, 1] -> (b, d); None: FID's Inception.
        name: what its values are called; with another network it is not FID.
        network_hash: of that network's file.
    """

    def __init__(
        self,
        options: FIDOptions | None = None,
        network: nn.Module | None = None,
        name: str = 'fid',
        network_hash: str = 'given',
    ) -> None:
        self.options = options or FIDOptions()
        self.name = name
        self.device = pick_device(self.options.device)
        if network is None:
            path = weights_path(self.options.weights)
            self.network, self.network_hash = load_inception(str(path), self.device), sha256_of(path)[:16]
        else:
            self.network, self.network_hash = network.to(self.device), network_hash
        size = FEATURES if network is None else self._width()
        read = {Path(path).stem: read_statistics(path, self.network_hash, size) for path in self.options.statistics}
        self.references = read
        self.sums = {kind: FeatureSums(size, self.options.interval) for kind in ('restored', 'gt')}

    @torch.inference_mode()
    def update(self, restored: Tensor, gt: Tensor | None = None) -> None:
        """Take a batch in: (b, 3, h, w) in [0, 1]; without ``gt`` only the stored statistics can be compared with."""
        for kind, images in (('restored', restored), ('gt', gt)):
            if images is not None:
                self.sums[kind].add(self.network(images.to(self.device).float()).cpu().numpy())

    def compute(self) -> dict[str, float]:
        """Return ``fid_gt``, ``fid_NAME`` (stored statistics), ``..._low``/``_high`` with an interval, and ``fid_n``.

        Raises:
            UsageError: nothing to compare with, or fewer than two images.
        """
        restored, gt = self.sums['restored'], self.sums['gt']
        if restored.count < 2:
            raise UsageError(f'FID is over a set; found {restored.count} image(s)')
        if gt.count < 2 and not self.references:
            raise UsageError('FID needs a ground truth or a file of statistics to compare with')
        found: dict[str, float] = {}
        if gt.count > 1:
            found |= self._against(gt.gaussian(), f'{self.name}_gt', paired=gt.count == restored.count)
        for name, reference in self.references.items():
            found |= self._against(reference, f'{self.name}_{name}', paired=False)
        return found | {f'{self.name}_n': float(restored.count)}

    def state(self) -> dict[str, Any]:
        """Return what was summed, to be sent to another rank."""
        return {kind: sums.state() for kind, sums in self.sums.items()}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Take another rank's state in."""
        for kind, sums in self.sums.items():
            sums.merge(state[kind])

    def _width(self) -> int:
        with torch.inference_mode():
            result: int = self.network(torch.zeros(1, 3, 64, 64, device=self.device)).shape[1]
            return result

    def _against(self, reference: Gaussian, name: str, paired: bool) -> dict[str, float]:
        restored = self.sums['restored']
        found = {name: frechet_distance(restored.gaussian(), reference)}
        if self.options.interval:
            others = self.sums['gt'].features() if paired else reference
            half = jackknife_half_width(restored.features(), others)
            found |= {f'{name}_low': found[name] - half, f'{name}_high': found[name] + half}
        return found


def fid_of_features(features: np.ndarray, reference: np.ndarray | Gaussian) -> float:
    """FID between features (n, d) and other features or stored statistics."""
    other = reference if isinstance(reference, Gaussian) else Gaussian.of_features(reference)
    return frechet_distance(Gaussian.of_features(features), other)


def jackknife_half_width(features: np.ndarray, reference: np.ndarray | Gaussian, groups: int = GROUPS) -> float:
    """Half of the 95 % interval of FID: leave out one of ``groups`` parts of the set at a time (Tukey).

    Args:
        features: (n, d) of the restored faces.
        reference: features (n, d) of the same faces' ground truth, left out in pairs; or stored statistics.
        groups: how many parts; fewer images than this are left out one by one.
    """
    groups = min(groups, len(features))
    if groups < 2 or len(features) < 4:
        return float('nan')
    member = np.arange(len(features)) % groups
    values = [_without(features, reference, member == group) for group in range(groups)]
    spread = np.sqrt((groups - 1) / groups * np.sum((np.array(values) - np.mean(values)) ** 2))
    return float(NORMAL_95 * spread)


def _without(features: np.ndarray, reference: np.ndarray | Gaussian, left_out: np.ndarray) -> float:
    rest = reference if isinstance(reference, Gaussian) else reference[~left_out]
    return fid_of_features(features[~left_out], rest)
