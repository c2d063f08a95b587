"""Three stages that overlap: reading, the network, and writing; memory is bounded, and one failure stops nothing."""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

READ_AHEAD = 4  # photographs
PIXELS_TOGETHER = 50_000_000  # of photographs that wait for the network; 150 MB in 8 bits
WRITE_BEHIND = 4  # photographs


class Job(Protocol):
    """What reading returns."""

    crops: list[np.ndarray]

    @property
    def pixels(self) -> int:
        """Number of pixels of the photograph."""


@dataclasses.dataclass(eq=False)
class _Item:
    photo: Any
    job: Any = None
    error: Exception | None = None


Network = Callable[[list[np.ndarray]], list[np.ndarray]]


def stream(
    photos: Iterable[Any],
    read: Callable[[Any], Job],
    network: Network,
    write: Callable[[Any, list[np.ndarray]], Any],
    batch: int,
) -> Iterator[tuple[Any, Any]]:
    """Yield (photo, what ``write`` returned or the exception it ended in), in order.

    Args:
        photos: anything ``read`` takes.
        read: runs in a thread of its own, ahead.
        network: restores the faces of several jobs together, in this thread.
        write: takes a job and its restored faces, in a thread of its own, behind.
        batch: faces that fill a batch.
    """
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        waiting: deque[tuple[Any, Future[Any]]] = deque()
        for group in _groups(_read_ahead(photos, read, reader), batch):
            for item, faces in _restore(group, network):
                waiting.append((item.photo, writer.submit(_write, write, item, faces)))
            while len(waiting) > WRITE_BEHIND:
                yield _outcome(*waiting.popleft())
        while waiting:
            yield _outcome(*waiting.popleft())


def _read_ahead(photos: Iterable[Any], read: Callable[[Any], Job], reader: ThreadPoolExecutor) -> Iterator[_Item]:
    ahead: deque[Future[_Item]] = deque()
    for photo in photos:
        ahead.append(reader.submit(_read, read, photo))
        if len(ahead) > READ_AHEAD:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _groups(items: Iterable[_Item], batch: int) -> Iterator[list[_Item]]:
    """Gather photographs until their faces fill a batch or they take much memory."""
    group: list[_Item] = []
    for item in items:
        group.append(item)
        jobs = [each.job for each in group if each.job is not None]
        if sum(len(job.crops) for job in jobs) >= batch or sum(job.pixels for job in jobs) > PIXELS_TOGETHER:
            yield group
            group = []
    if group:
        yield group


def _restore(group: list[_Item], network: Network) -> Iterator[tuple[_Item, list[np.ndarray]]]:
    restored = deque(network([crop for item in group if item.job for crop in item.job.crops]))
    for item in group:
        yield item, [restored.popleft() for _ in (item.job.crops if item.job else ())]


def _read(read: Callable[[Any], Job], photo: Any) -> _Item:
    try:
        return _Item(photo, read(photo))
    except Exception as error:  # whatever one photograph does, the others go on
        return _Item(photo, error=error)


def _write(write: Callable[[Any, list[np.ndarray]], Any], item: _Item, faces: list[np.ndarray]) -> Any:
    if item.error is not None:
        return item.error
    try:
        return write(item.job, faces)
    except Exception as error:  # as above
        return error


def _outcome(photo: Any, future: Future[Any]) -> tuple[Any, Any]:
    return photo, future.result()
