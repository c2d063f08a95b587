"""The entries of ``val.metrics``: checked, tried before the first face, built, and scored on one picture."""

import functools
import inspect
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from .metrics import SET_METRICS, SetMetric
from .metrics.metric_options import calculate, complete

_LOGGER = logging.getLogger('basicsr')
NIQE = frozenset(('calculate_niqe', 'calculate_niqe_fast'))
NIQE_BLOCK = 96  # side of the blocks whose statistics it compares
TRIAL_SIDE = 64  # pixels of the picture on which a metric is tried


def available(metrics: Mapping[str, Mapping[str, Any]], may_miss: bool) -> dict[str, Mapping[str, Any]]:
    """Return the entries that can be computed here; those that need weights are tried on a grey picture.

    Args:
        metrics: the yml's ``val.metrics``.
        may_miss: leave out a metric whose weights or package cannot be had, with one warning; else that is an error,
            which a long training should end with at its start.

    Raises:
        UsageError: an entry without a type, of an unknown one, or, unless ``may_miss``, one that cannot be computed.
    """
    found: dict[str, Mapping[str, Any]] = {}
    for name, options in metrics.items():
        completed = check_metric(options, f'val.metrics.{name}')
        try:
            _try(name, options)
        except UsageError as error:
            if not may_miss:
                raise
            _LOGGER.warning('column %s is missing: %s', name, error)
            continue
        found[name] = completed
    return found


def _try(name: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError for a metric whose weights or package are not here and cannot be had."""
    if options['type'] in SET_METRICS:
        make_set_metric(name, options)
    elif 'weights' in _parameters(options['type']):
        grey = np.full((TRIAL_SIDE, TRIAL_SIDE, 3), 128, np.uint8)
        score(grey, grey, options)


def check_metric(options: Any, where: str) -> dict[str, Any]:
    """Check an entry of ``val.metrics``; return it with what its metric cannot do without (``metric_options``)."""
    return complete(options, where)


def make_set_metric(name: str, options: Mapping[str, Any]) -> SetMetric:
    """Build the set metric of an entry in ``val.metrics``."""
    own = {key: value for key, value in options.items() if key not in ('type', 'better')}
    return SET_METRICS[options['type']](own, f'val.metrics.{name}')


def score(picture: np.ndarray, gt: np.ndarray | None, options: Mapping[str, Any]) -> float | None:
    """One picture's value of a registered metric; None where it lacks a ground truth or the picture is too small."""
    if options['type'] in NIQE and _niqe_blocks(picture, options) < 2:
        _warn_small(options['type'])
        return None
    reference = None if gt is None else np.ascontiguousarray(gt[..., ::-1])
    own = {key: value for key, value in options.items() if key not in ('type', 'better')}
    return calculate(options['type'], np.ascontiguousarray(picture[..., ::-1]), reference, own)


def _niqe_blocks(picture: np.ndarray, options: Mapping[str, Any]) -> int:
    """How many whole blocks a picture has inside its border; the spread over them takes two."""
    rows, columns = ((side - 2 * options.get('crop_border', 0)) // NIQE_BLOCK for side in picture.shape[:2])
    result: int = max(rows, 0) * columns
    return result


@functools.cache
def _warn_small(metric: str) -> None:
    """Say once per process that a metric was left out."""
    blocks = f'two blocks of {NIQE_BLOCK} x {NIQE_BLOCK}'
    _LOGGER.warning('%s needs %s px inside crop_border; left out for smaller pictures', metric, blocks)


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    """Return what a metric of BasicSR's registry takes."""
    from basicsr.metrics import METRIC_REGISTRY

    return inspect.signature(METRIC_REGISTRY.get(name)).parameters
