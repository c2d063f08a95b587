"""Where a run stands in its schedule: at its iteration, or further on if ``train.time_limit`` requires it."""

import time
from collections.abc import Mapping

from . import ranks


class RunClock:
    """The place in the schedule, 1 to ``total_iter``; rates, starts and stops of losses follow it.

    Without a limit it is the iteration, so that a resumed run repeats a straight one bit for bit. With a limit it moves
    by the clock where that is faster; the seconds before a resume count.
    """

    def __init__(self, total_iter: int, minutes: float | None) -> None:
        """Args: minutes: ``train.time_limit``."""
        self.place = 0
        self._total, self._minutes = total_iter, minutes
        self._start = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the schedule has come to its end."""
        return self.place >= self._total

    def advance(self, iteration: int) -> None:
        """Move to ``iteration``, or to where the first process's clock stands."""
        place = iteration
        if self._minutes is not None:
            gone = ranks.gather(self.seconds())[0] / (60 * self._minutes)
            place = max(iteration, int(gone * self._total))
        self.place = min(place, self._total)

    def seconds(self) -> float:
        """Return the seconds of training so far."""
        return time.monotonic() - self._start

    def state(self) -> dict[str, float]:
        """Return the state for a checkpoint."""
        return {'seconds': self.seconds()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Continue from the seconds in a checkpoint."""
        self._start = time.monotonic() - state.get('seconds', 0.0)
