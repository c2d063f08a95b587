"""Where the time of restoring goes, stage by stage."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Iterator


class StageTimes:
    """Adds up wall-clock seconds by stage; each stage runs in one thread at a time."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time spent inside towards ``name``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start
