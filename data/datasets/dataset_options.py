"""What both datasets read from the yml: BasicSR's loader keys, the seed, and where the images lie."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from ..degradation import DegradationOptions
from ..drawn.faces import QUICK_FACES, quick_faces


@dataclasses.dataclass(frozen=True)
class DatasetOptions:
    """Keys of a section under ``datasets``.

    Attributes:
        image_size: side in pixels of what the network takes; images are scaled to it.
        name: of the data, in logs and folders.
        type: the dataset's class, as registered.
        dataroot_gt: folder or ``*.lmdb`` of good images, or ``quick-faces/train`` or ``quick-faces/val``.
        dataroot_lq: the same for degraded images.
        degradation: the ranges of Eq. 17.
        seed: of all randomness; the runner puts the run's ``manual_seed`` here.
        max_bad_images: so many unreadable images are skipped, each reported by name; one more ends the run.
        phase: set by BasicSR, as all that follow are BasicSR's and read by its runner or loader.
        scale: as above; MMRBGAN keeps the size (1).
        io_backend: accepted as in BasicSR's files; whether a folder or an LMDB is read follows from its name.
        use_shuffle: as above.
        num_worker_per_gpu: as above.
        batch_size_per_gpu: as above.
        dataset_enlarge_ratio: as above; 1 or more.
        prefetch_mode: as above.
        num_prefetch_queue: as above.
        pin_memory: as above.
        persistent_workers: as above.
    """

    image_size: int
    name: str = ''
    type: str = ''
    dataroot_gt: str | None = None
    dataroot_lq: str | None = None
    degradation: DegradationOptions = DegradationOptions()  # noqa: RUF009
    seed: int = 0
    max_bad_images: int = 100
    phase: str = 'train'
    scale: int = 1
    io_backend: Any = None
    use_shuffle: bool = True
    num_worker_per_gpu: int = 0
    batch_size_per_gpu: int = 1
    dataset_enlarge_ratio: float = 1
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = True
    persistent_workers: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a number that cannot be."""
        if self.image_size < 1:
            raise ValueError(f'image_size: {self.image_size} is not a size in pixels')
        if self.max_bad_images < 0:
            raise ValueError(f'max_bad_images: {self.max_bad_images} is below 0')
        if not self.dataset_enlarge_ratio >= 1:
            raise ValueError(
                f'dataset_enlarge_ratio: {self.dataset_enlarge_ratio} is below 1 and would leave the same files '
                'out of every epoch; set it to 1 or more'
            )


def resolve_root(dataroot: str) -> Path:
    """Return the folder that ``dataroot`` means; ``quick-faces/...`` is made on first use."""
    head, _, split = dataroot.partition('/')
    return quick_faces(split) if head == QUICK_FACES else Path(dataroot)
