"""Feeds BasicSR's training loop batch by batch, and knows the place in the epoch that a checkpoint has to keep."""

from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from .loaders import EpochSampler, batches_on_gpu


class BatchFeed:
    """Stands in for BasicSR's prefetchers: ends the loop at the last iteration, not one batch later."""

    def __init__(
        self,
        loader: DataLoader[Any],
        sampler: EpochSampler,
        start: dict[str, int],
        total: int,
        on_gpu: bool,
        after_step: Callable[[int, int], None],
    ) -> None:
        """Begin at ``start``.

        Args:
            loader: the training loader.
            sampler: its sampler; its epoch is set by the loop.
            start: iter, epoch and samples (of all ranks, already consumed of that epoch) to begin with.
            total: the last iteration.
            on_gpu: copy batches to the GPU ahead of use.
            after_step: called with (epoch, iteration) after each finished iteration, before the next batch.
        """
        self._loader, self._sampler, self._total, self._on_gpu = loader, sampler, total, on_gpu
        self._after_step = after_step
        self._start = start
        self.iteration = start['iter']
        self._finished = self.iteration
        self._source: Iterator[Any] = iter(())
        self._batches = self._source
        self._taken = 0

    def reset(self) -> None:
        """Begin the epoch that the sampler was set to."""
        self._taken = 0
        if self.iteration < self._total:
            self._source = iter(self._loader)
            self._batches = batches_on_gpu(self._source) if self._on_gpu else self._source

    def next(self) -> Any | None:
        """Return the next batch, or None at the end of the epoch and after the last iteration."""
        if self.iteration > self._finished:
            self._finished = self.iteration
            self._after_step(self._sampler.epoch, self.iteration)
        batch = next(self._batches, None) if self.iteration < self._total else None
        if batch is not None:
            self.iteration += 1
            self._taken += 1
        return batch

    def end(self) -> None:
        """Let the iteration that was finished last be the run's last."""
        self._total = self.iteration

    def close(self) -> None:
        """End the workers, which listen to no signal: a process would wait for them at its end."""
        end_workers = getattr(self._source, '_shutdown_workers', None)
        if end_workers is not None:
            end_workers()

    def place(self) -> dict[str, int]:
        """Return iter, epoch and samples (of all ranks, consumed of that epoch), to go on from here."""
        epoch = self._sampler.epoch
        before = self._start['samples'] if epoch == self._start['epoch'] else 0
        samples = self._taken * (self._loader.batch_size or 1) * self._sampler.num_replicas
        return {'iter': self.iteration, 'epoch': epoch, 'samples': before + samples}
