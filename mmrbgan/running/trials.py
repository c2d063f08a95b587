"""Tries, before a run makes its first folder, what would else fail hours later: samples, metrics, a first picture.

Of this plugin's models and datasets the options' description is enough; BasicSR's and other plugins' are tried.
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from basicsr.data import build_dataset

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.checkpoints import rng_state
from mmrbgan_model.metric_entries import NIQE, score
from mmrbgan_model.metrics import SET_METRICS, metric_options


@contextlib.contextmanager
def one_line(where: str) -> Iterator[None]:
    """Turn whatever another project's code raises into one line that begins with ``where``."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:
        detail = ' '.join(str(error).split())[:300]
        raise UsageError(f'{where}: {type(error).__name__}: {detail}') from error


def build_set(phase: str, section: Mapping[str, Any]) -> Any:
    """Build a dataset; one of another project also gives its first sample, of a copy made for that."""
    where = f'datasets.{phase}: {section["type"]}'
    with one_line(where):
        dataset = build_dataset(section)
        if hasattr(dataset, 'options_class') or len(dataset) == 0:
            return dataset
        with rng_state.preserved():
            build_dataset(section)[0]
        return dataset


def try_metrics(options: Mapping[str, Any], datasets: Mapping[str, Any]) -> None:
    """Score the first picture of each validation or test set by each metric of pictures.

    Raises:
        UsageError: a metric that does not work, with its name.
    """
    metrics = (options.get('val') or {}).get('metrics') or {}
    with rng_state.preserved():
        for phase, dataset in datasets.items():
            pictures = _first_pictures(dataset) if phase.split('_')[0] != 'train' and metrics else None
            for name, entry in metrics.items():
                if pictures is not None and entry['type'] not in SET_METRICS:
                    ours = hasattr(dataset, 'options_class')
                    _try_metric(score if ours else metric_options.score_bgr, name, entry, *pictures)


def first_step(model_type: str, step: Callable[..., None]) -> Callable[..., None]:
    """Let the first call of another model's training step end in one line; later faults keep their traceback."""
    calls = [f'train: the first step of {model_type} failed']

    def optimize_parameters(*args: Any, **kwargs: Any) -> None:
        if not calls:
            return step(*args, **kwargs)
        with one_line(calls.pop()):
            return step(*args, **kwargs)

    return optimize_parameters


def try_picture(model: Any, model_type: str, loader: Any) -> None:
    """Restore the first picture of a loader by another project's model, if it has BasicSR's ``test``."""
    dataset = loader.dataset
    if not hasattr(model, 'test') or not hasattr(model, 'feed_data') or hasattr(type(model), 'settings'):
        return
    with rng_state.preserved(), one_line(f'datasets.{dataset.opt["name"]}: {model_type} cannot restore its first'):
        before = set(vars(model))
        model.feed_data(torch.utils.data.default_collate([dataset[0]]))
        model.test()
        for name in set(vars(model)) - before:
            delattr(model, name)


def _first_pictures(dataset: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """Return lq and gt (None if there is none) as BGR uint8, both of the size of gt."""
    sample = dataset[0]
    lq = _to_uint8(sample['lq'])
    gt = _to_uint8(sample['gt']) if 'gt' in sample else None
    return (lq, None) if gt is None else (gt[::-1].copy(), gt)


def _to_uint8(image: torch.Tensor) -> np.ndarray:
    return (image.clamp(0, 1) * 255).byte().permute(1, 2, 0).numpy()


def _try_metric(
    score_one: Callable[..., float | None],
    name: str,
    entry: Mapping[str, Any],
    picture: np.ndarray,
    gt: np.ndarray | None,
) -> None:
    where = f'val.metrics.{name}: {entry["type"]}'
    with one_line(f'{where} fails on the first picture'), np.errstate(all='ignore'):
        value = score_one(picture, gt, entry)
    if value is not None and math.isnan(value) and entry['type'] not in NIQE:  # a flat picture has none
        height, width = picture.shape[:2]
        raise UsageError(f'{where} gives no number on the first picture ({width}x{height}); change its options')
