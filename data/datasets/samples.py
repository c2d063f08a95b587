"""The steps of a sample that both datasets share, each a pure function, and the list of images that failed."""

import logging
from pathlib import PurePosixPath

import cv2
import numpy as np
import torch

from mmrbgan_arch.support.errors import UsageError

from ..degradation import DegradationOptions, degrade, draw_degradation
from ..images import ImageSource, UnreadableImageError, resize_square

_LOGGER = logging.getLogger('basicsr')


class BadImages:
    """The images of one dataset that could not be used: each is reported once, too many end the run.

    A loader's workers share what is known, forked or spawned, and so do the workers of later epochs.

    Args:
        limit: how many are tolerated.
        images: how many there are.
    """

    def __init__(self, limit: int, images: int) -> None:
        self.limit = limit
        self.failed = torch.zeros(images, dtype=torch.bool).share_memory_()

    def report(self, index: int, error: UnreadableImageError) -> None:
        """Log ``error`` the first time image ``index`` fails.

        Raises:
            UsageError: more images failed than ``limit``.
        """
        if self.failed[index]:
            return
        self.failed[index] = True
        count = int(self.failed.sum())
        if count > self.limit:
            raise UsageError(
                f'{error}; with it {count} images failed, more than max_bad_images: {self.limit}; '
                'mend or remove them, or raise max_bad_images'
            )
        _LOGGER.warning('skipped image %s', error)


def read_square(source: ImageSource, index: int, size: int) -> tuple[np.ndarray, int]:
    """Return image ``index`` scaled to RGB uint8 (size, size, 3), and its side before.

    Raises:
        UnreadableImageError: it cannot be read or is not square; the path is named.
    """
    image = source.read(index)
    try:
        return resize_square(image, size), image.shape[0]
    except UnreadableImageError as error:
        raise UnreadableImageError(f'{source.path(index)}: {error}') from error


def degrade_randomly(image: np.ndarray, options: DegradationOptions, rng: np.random.Generator) -> np.ndarray:
    """Return RGB uint8 (h, w, 3) degraded by Eq. 17 with parameters drawn from ``rng``."""
    return degrade(image, draw_degradation(options, rng), options.kernel_size)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """Return RGB uint8 (h, w, 3) as float32 (3, h, w) in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float().mul_(1 / 127.5).sub_(1)


def stem(name: str) -> str:
    """Return the file name without its suffix, which is what pairs lq and gt; other dots stay."""
    return str(PurePosixPath(name).with_suffix(''))


def pair_by_stem(source: ImageSource, partners: ImageSource) -> list[int | None]:
    """Return for each image of ``source`` the index in ``partners`` of the one with the same stem, or None."""
    index_of = {stem(name): index for index, name in enumerate(partners.names)}
    return [index_of.get(stem(name)) for name in source.names]


def keep_to_one_thread() -> None:
    """Keep OpenCV from starting a thread per core: a loader's workers are the threads.

    Datasets call it when they are made, too: a worker forked beside OpenCV's threads would wait for them forever.
    """
    if cv2.getNumThreads() != 1:
        cv2.setNumThreads(1)
