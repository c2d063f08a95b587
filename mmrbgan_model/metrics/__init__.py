"""Metrics of restored faces: per image in BasicSR's registry, and over a whole set in ``SET_METRICS``.

A per-image metric is a function ``f(img, img2, **its own options)`` of BGR uint8 pictures (h, w, 3). A set metric is no
average over images; it is an object that follows ``SetMetric``. This package imports nothing heavy before it is used.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor


class SetMetric(Protocol):
    """A metric over a set of faces, fed batch by batch, on one rank or several."""

    def update(self, restored: Tensor, gt: Tensor | None = None) -> None:
        """Take a batch in: (b, 3, h, w) RGB in [0, 1]."""

    def compute(self) -> dict[str, float]:
        """Return the values by name; the first one is the metric, the others say more about it."""

    def state(self) -> dict[str, Any]:
        """Return what was gathered, to be sent to another rank."""

    def merge(self, state: Mapping[str, Any]) -> None:
        """Take what another rank gathered in."""


def make_fid(options: Mapping[str, Any], where: str = 'val.metrics.fid') -> SetMetric:
    """FID from the options of a yml; see ``fid.FIDOptions``.

    Raises:
        UsageError: an unknown option, or weights that are nowhere.
    """
    from mmrbgan_arch.support.option_reader import read_options

    from .fid import FID, FIDOptions

    return FID(read_options(FIDOptions, options, where))


def make_frechet_lite0(options: Mapping[str, Any], where: str = 'val.metrics.frechet_lite0') -> SetMetric:
    """Fréchet distance on EfficientNet-Lite0's features; the options are FID's, ``weights`` that network's.

    Raises:
        UsageError: an unknown option, or weights that are nowhere.
    """
    from mmrbgan_arch.support.option_reader import read_options

    from .efficientnet_lite import frechet_lite0
    from .fid import FIDOptions

    return frechet_lite0(read_options(FIDOptions, options, where))


SET_METRICS: dict[str, Callable[[Mapping[str, Any], str], SetMetric]] = {
    'fid': make_fid,
    'frechet_lite0': make_frechet_lite0,
}
"""Name as ``type`` of an entry in ``val.metrics`` -> factory of (its other options, its place in the yml)."""
