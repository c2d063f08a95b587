"""The loaders of a run: as many iterations as the options say, an order that resumes exactly, workers that vary.

BasicSR 1.4.2 counts iterations per epoch upwards while its loader drops the last batch, ignores ``manual_seed`` in the
order, and gives its workers the same seeds in every epoch.
"""

import logging
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.datasets.sampler import ResumableSampler

from .signals import ignore_in_worker

_LOGGER = logging.getLogger(__name__)


class EpochSampler(ResumableSampler):  # type: ignore[misc]
    """A ResumableSampler that also seeds the loader's workers, from the seed, the rank and the epoch."""

    def __init__(self, dataset: Dataset[Any], num_replicas: int, rank: int, ratio: int, seed: int) -> None:
        """Make the sampler; ``generator`` belongs into the DataLoader."""
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, ratio=ratio, seed=seed)
        self.generator = torch.Generator()
        self._seed_and_rank = (seed, rank)

    def set_epoch(self, epoch: int) -> None:
        """Go to ``epoch``: its own order and its own worker seeds."""
        super().set_epoch(epoch)
        seed, rank = self._seed_and_rank
        entropy = np.random.SeedSequence([seed, rank, epoch]).generate_state(1, np.uint64)
        self.generator.manual_seed(int(entropy[0]) >> 1)


def train_loader(dataset: Any, options: Mapping[str, Any], sampler: EpochSampler, on_gpu: bool) -> DataLoader[Any]:
    """Build the loader of the training set.

    Raises:
        UsageError: fewer samples than one batch, so that training would end without one iteration.
    """
    workers, batch = int(options.get('num_worker_per_gpu', 0)), int(options.get('batch_size_per_gpu', 1))
    if len(sampler) < batch:
        raise UsageError(
            f'datasets.train: {len(dataset)} samples give {len(sampler)} per process, not one batch of {batch}; '
            'lower batch_size_per_gpu, raise dataset_enlarge_ratio or add pictures'
        )
    return DataLoader(
        dataset,
        batch_size=batch,
        sampler=sampler,
        drop_last=True,
        num_workers=workers,
        generator=sampler.generator,
        worker_init_fn=seed_worker,
        pin_memory=bool(options.get('pin_memory', on_gpu)) and on_gpu,
        persistent_workers=bool(options.get('persistent_workers', False)) and workers > 0,
        prefetch_factor=max(2, int(options.get('num_prefetch_queue') or 2)) if workers else None,
    )


def test_loader(dataset: Any, options: Mapping[str, Any]) -> DataLoader[Any]:
    """Build the loader of a validation or test set: one picture at a time, in order.

    Raises:
        UsageError: the set is empty, which BasicSR finds out after hours of training.
    """
    if len(dataset) == 0:
        raise UsageError(f'datasets: {options.get("name")} is empty')
    workers = int(options.get('num_worker_per_gpu') or 0)
    return DataLoader(dataset, batch_size=1, num_workers=workers, worker_init_fn=seed_worker)


def seed_worker(worker: int) -> None:
    """Give Python and numpy of this worker the seed that torch drew for it, OpenCV one thread, signals to the run."""
    import cv2

    ignore_in_worker()
    seed = torch.initial_seed()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    cv2.setNumThreads(0)


def last_epoch(total: int, start_iter: int, start_epoch: int, first: int, per_epoch: int) -> int:
    """Return the epoch in which iteration ``total`` falls.

    Args:
        total: iterations of the whole run.
        start_iter: iterations already done.
        start_epoch: epoch to go on with.
        first: iterations left in that epoch.
        per_epoch: iterations of every later epoch.
    """
    return start_epoch + max(0, math.ceil((total - start_iter - first) / per_epoch))


def batches_on_gpu(batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    """Yield ``batches`` on the GPU, copying each while the one before it is worked on."""
    stream, ready = torch.cuda.Stream(), None
    for batch in batches:
        with torch.cuda.stream(stream):
            moved = {key: _to_gpu(value) for key, value in batch.items()}
        if ready is not None:
            yield _claim(ready, stream)
        ready = moved
    if ready is not None:
        yield _claim(ready, stream)


def _to_gpu(value: Any) -> Any:
    return value.cuda(non_blocking=True) if isinstance(value, torch.Tensor) else value


def _claim(batch: dict[str, Any], stream: torch.cuda.Stream) -> dict[str, Any]:
    """Wait for the copy of ``batch`` and keep its memory from being used again too early."""
    current = torch.cuda.current_stream()
    current.wait_stream(stream)
    for value in batch.values():
        if isinstance(value, torch.Tensor):
            value.record_stream(current)
    return batch
