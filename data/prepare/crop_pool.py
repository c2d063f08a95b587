"""Photographs into crops by several processes, in order; what crashes its process is one photograph's reason."""

import itertools
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from .cropping import Crop, CropSettings, Skip, crop_photograph
from .photographs import Photograph

LONGEST_NAME = 255  # bytes, of one file, on most systems
IN_FLIGHT = 4  # photographs per worker that may wait for their turn


def crop_all(
    photographs: list[Photograph], settings: CropSettings, workers: int
) -> Iterator[tuple[Photograph, list[Crop | Skip]]]:
    """Yield each photograph with its faces, in order; a few are worked on ahead, and no more."""
    if workers <= 1:
        for photograph in photographs:
            yield photograph, _crop(photograph, settings)
        return
    ahead: deque[Photograph] = deque(photographs)
    while ahead:
        try:
            yield from _pooled(ahead, settings, workers)
        except BrokenProcessPool:  # a decoder or detector crashed its process: the photograph at the head, or near it
            photograph = ahead.popleft()
            yield photograph, _crop_alone(photograph, settings)


def _pooled(
    ahead: deque[Photograph], settings: CropSettings, workers: int
) -> Iterator[tuple[Photograph, list[Crop | Skip]]]:
    """Yield results and take their photographs from ``ahead`` until it is empty."""
    # Not forked: OpenCV's and torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, get_context('spawn'), _keep_to_one_thread) as pool:
        upcoming = iter(list(ahead))
        waiting: deque[Future[list[Crop | Skip]]] = deque()
        while ahead:
            for photograph in itertools.islice(upcoming, IN_FLIGHT * workers - len(waiting)):
                waiting.append(pool.submit(_crop, photograph, settings))
            result = waiting.popleft().result()
            yield ahead.popleft(), result


def _crop(photograph: Photograph, settings: CropSettings) -> list[Crop | Skip]:
    """Crop one photograph (in a worker); landmarks were asked for and it has none: that is the reason."""
    if fault := _fault_of_name(photograph):
        return [Skip('unreadable', fault)]
    if photograph.landmarks == ():
        return [Skip('no landmarks', 'the file of landmarks does not name it')]
    return crop_photograph(photograph.path, settings, photograph.landmarks, photograph.landmarks_side)


def _fault_of_name(photograph: Photograph) -> str | None:
    """Say why no crop can bear this photograph's name, if so."""
    try:
        last = photograph.stem.rpartition('/')[2].encode('utf-8')
    except UnicodeEncodeError:
        return 'its name is not UTF-8; rename it'
    return 'its name is too long; rename it' if len(last) + len('_000.png') > LONGEST_NAME else None


def _crop_alone(photograph: Photograph, settings: CropSettings) -> list[Crop | Skip]:
    """Crop one photograph in a process of its own, whose crash is that photograph's reason."""
    with ProcessPoolExecutor(1, get_context('spawn'), _keep_to_one_thread) as pool:
        try:
            return pool.submit(_crop, photograph, settings).result()
        except BrokenProcessPool:
            return [Skip('unreadable', 'it crashes the program that reads it')]


def _keep_to_one_thread() -> None:
    """In a new worker, before torch is imported: the processes are the threads."""
    os.environ['OMP_NUM_THREADS'] = '1'
