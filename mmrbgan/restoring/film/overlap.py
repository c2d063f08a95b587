"""Runs the stages of a stream in threads of their own, a bounded number of items ahead of whoever takes them."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

T = TypeVar('T')
_PATIENCE = 0.1  # seconds between looks at whether anybody still wants items


class _End:
    """Passes the end of the items, and the exception they ended in, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Yield ``items`` in order, computed in a thread at most ``depth`` of them ahead.

    An exception of ``items`` is raised here. Closing this generator closes ``items``, in its own thread.
    """
    waiting: queue.Queue[Any] = queue.Queue(depth)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(items, waiting, stop), daemon=True)
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        stop.set()
        thread.join()


def _fill(items: Iterable[Any], waiting: 'queue.Queue[Any]', stop: threading.Event) -> None:
    source = iter(items)
    try:
        for item in source:
            if not _put(item, waiting, stop):
                return
        _put(_End(), waiting, stop)
    except BaseException as error:  # raised again where the items are taken
        _put(_End(error), waiting, stop)
    finally:
        if close := getattr(source, 'close', None):
            close()


def _put(item: Any, waiting: 'queue.Queue[Any]', stop: threading.Event) -> bool:
    """Put ``item`` once there is room; False if nobody wants it any more."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=_PATIENCE)
            return True
        except queue.Full:
            continue
    return False
