"""What both datasets read from the yml: BasicSR's loader keys, the seed, and where the images lie."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from mmrbgan_arch.support.ranges import CountOrNone, FolderName, Range, Seed, Side

from ..degradation import DegradationOptions
from ..drawn.faces import QUICK_FACES, quick_faces


@dataclasses.dataclass(frozen=True)
class Backend:
    """BasicSR's ``io_backend``."""

    type: Literal['disk', 'lmdb']
    """disk: folders; lmdb: what `mmrbgan prepare --lmdb` or BasicSR wrote."""


@dataclasses.dataclass(frozen=True)
class DatasetOptions:
    """Keys of a section under ``datasets``."""

    image_size: Side
    """Side in pixels of what the network takes; images are scaled to it."""
    name: FolderName = ''
    """Of the data, in logs and folders; the section's own name if it has none."""
    type: str = ''
    """The dataset's class, as registered."""
    dataroot_gt: str | None = None
    """Folder or ``*.lmdb`` of good images, or ``quick-faces/train`` or ``quick-faces/val``."""
    dataroot_lq: str | None = None
    """The same for degraded images."""
    degradation: DegradationOptions = DegradationOptions()  # noqa: RUF009
    """The ranges of Eq. 17."""
    seed: Seed = 0
    """Of all randomness; the runner puts the run's ``manual_seed`` here."""
    max_bad_images: CountOrNone = 100
    """So many unreadable images are skipped, each reported by name; one more ends the run."""
    phase: Literal['train', 'val', 'test'] = 'train'
    """Set by BasicSR, as all that follow are BasicSR's and read by its runner or loader."""
    scale: Annotated[int, Range(1, 1)] = 1
    """BasicSR's; MMRBGAN keeps the size."""
    io_backend: Backend | None = None
    """BasicSR's; whether a folder or an LMDB is read follows from its name."""
    use_shuffle: bool = True
    """BasicSR's; the training order is always random, others are sorted."""
    num_worker_per_gpu: Annotated[int, Range(0, 128)] = 0
    """Processes that read images, for each process that trains."""
    batch_size_per_gpu: Annotated[int, Range(1, 4096)] = 1
    """Images of one step, for each process that trains."""
    dataset_enlarge_ratio: Annotated[float, Range(1, 1000)] = 1
    """How many times an epoch goes through the images."""
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    """BasicSR's; batches are always read ahead, on a GPU copied ahead, too."""
    num_prefetch_queue: Annotated[int, Range(1, 1024)] = 1
    """Batches that each worker reads ahead (2 at least)."""
    pin_memory: bool = True
    """Page-locked memory for the copy to a GPU."""
    persistent_workers: bool = False
    """Keep the workers from epoch to epoch."""


def resolve_root(dataroot: str) -> Path:
    """Return the folder that ``dataroot`` means; ``quick-faces/...`` is made on first use."""
    head, _, split = dataroot.partition('/')
    return quick_faces(split) if head == QUICK_FACES else Path(dataroot)
