"""The order of the training samples: a function of (seed, epoch) alone, resumable in mid-epoch.

Takes the place of BasicSR's EnlargedSampler, whose order ignores the seed and which cannot skip what a resumed run has
already seen.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler


class ResumableSampler(Sampler[Any]):
    """Yields this rank's share of each epoch, in an order that depends on (seed, epoch) only.

    Datasets with the attribute ``takes_sample_keys`` get pairs (epoch, position), from which they derive their
    randomness; ``position % len(dataset)`` is the file. Others get that index.

    Args:
        dataset: to be sampled; only its length is used.
        num_replicas: processes that train together.
        rank: of this process; it takes ``order[rank::num_replicas]``.
        ratio: the epoch is this many times as long as the dataset.
        seed: of the order.
    """

    def __init__(
        self, dataset: Dataset[Any], num_replicas: int = 1, rank: int = 0, ratio: float = 1, seed: int = 0
    ) -> None:
        self.dataset = dataset
        self.num_replicas, self.rank, self.seed, self.epoch = num_replicas, rank, seed, 0
        self._length = math.ceil(len(dataset) * ratio)  # type: ignore[arg-type]
        self.num_samples = math.ceil(self._length / num_replicas)
        self._skipped: tuple[int, int] = (-1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration yields."""
        self.epoch = epoch

    def skip(self, epoch: int, samples: int) -> None:
        """Leave out the first ``samples`` of this rank in ``epoch`` (consumed before a stop), and in no other epoch."""
        self._skipped = (epoch, samples)

    def __len__(self) -> int:
        return self.num_samples

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        start = self._skipped[1] if epoch == self._skipped[0] else 0
        takes_keys = getattr(self.dataset, 'takes_sample_keys', False)
        for position in self._order(epoch)[start:]:
            yield (epoch, position) if takes_keys else position % len(self.dataset)  # type: ignore[arg-type]

    def _order(self, epoch: int) -> list[int]:
        """Return this rank's positions of the whole epoch; every rank gets the same number.

        What all ranks take together is the same for any number of them, but for repeats of the first at the end.
        """
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        order = torch.randperm(self._length, generator=generator).numpy()
        padded = np.resize(order, self.num_samples * self.num_replicas)
        result: list[int] = padded[self.rank :: self.num_replicas].tolist()
        return result
