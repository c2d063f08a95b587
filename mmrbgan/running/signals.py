"""SIGTERM and SIGUSR1, by which schedulers announce preemption, end a run after a complete checkpoint."""

import signal
import threading
from typing import Any

from . import processes

_SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGUSR1') if hasattr(signal, name))


class RunStoppedError(Exception):
    """The run was asked to end and has saved its state; not an error."""


class StopSignals:
    """Records signals from its creation until ``close``; only a main thread can take signals."""

    def __init__(self) -> None:
        """Install the handlers."""
        self._name: str | None = None
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}

    def name(self) -> str | None:
        """Return the signal that came to any of the processes; all of them ask at the same iteration."""
        anywhere = processes.any_rank(self._name is not None)
        return (self._name or 'a signal to another process') if anywhere else None

    def close(self) -> None:
        """Restore the previous handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: Any) -> None:
        self._name = signal.Signals(number).name


def ignore_in_worker() -> None:
    """Let a loader's worker live on while its run saves and ends; Ctrl-C is the main process's business too."""
    for number in (*_SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
