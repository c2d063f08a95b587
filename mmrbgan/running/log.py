"""What a run tells: BasicSR's log lines on the terminal and in a file of its own, and a progress bar on a terminal."""

import logging
import sys
from logging.handlers import MemoryHandler
from typing import Any

from tqdm import tqdm

_NAMES = ('basicsr', 'mmrbgan', 'mmrbgan_arch', 'mmrbgan_data', 'mmrbgan_model')
NEVER = logging.CRITICAL + 1  # a level at which kept lines would be written before ``release``
_FORMAT = logging.Formatter('%(asctime)s %(levelname)s: %(message)s')


class _FileHandler(logging.FileHandler):
    """Writes the run's log; a full disk ends the run, where Python's own would print a traceback for every line."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise what happened."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, self.baseFilename) from error
        super().handleError(record)


class _TerminalHandler(logging.Handler):
    """Writes to stderr without tearing a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line above the bar."""
        tqdm.write(self.format(record), file=sys.stderr)


class RunLog:
    """The handlers of one run, on BasicSR's logger and on ours.

    Until ``open_file`` lines are kept; ``release`` writes them, so that the file begins with BasicSR's banner even
    though the data and the networks are built, and can fail, before any folder is made.
    """

    def __init__(self, is_master: bool) -> None:
        """Take the loggers over; ranks other than the first tell errors only."""
        self._waiting = MemoryHandler(10**6, NEVER, flushOnClose=False)
        self._terminal = _TerminalHandler()
        self._terminal.setFormatter(_FORMAT)
        self._level = logging.INFO if is_master else logging.ERROR
        self._set_handlers([self._waiting])
        self._is_master = is_master

    def open_file(
        self, logger_name: str = 'basicsr', log_level: int = logging.INFO, log_file: str | None = None
    ) -> Any:
        """Write to ``log_file`` and to the terminal from here on (stands in for BasicSR's ``get_root_logger``)."""
        handlers: list[logging.Handler] = [self._terminal]
        if log_file is not None and self._is_master:
            file = _FileHandler(log_file, 'a', encoding='utf-8')  # a clock set back gives a name twice
            file.setFormatter(_FORMAT)
            handlers.append(file)
        self._set_handlers(handlers)
        return logging.getLogger(logger_name)

    def announce(self, line: str) -> None:
        """Tell ``line`` loudly, once per job."""
        if self._is_master:
            logging.getLogger('mmrbgan').warning(line)

    def release(self) -> None:
        """Write the lines that were kept."""
        self._waiting.setTarget(logging.getLogger('basicsr'))  # type: ignore[arg-type] # whose handlers are everyone's
        self._waiting.flush()

    def close(self) -> None:
        """Take the handlers off and close the file."""
        self._set_handlers([])

    def _set_handlers(self, handlers: list[logging.Handler]) -> None:
        for name in _NAMES:
            logger = logging.getLogger(name)
            for old in logger.handlers[:]:
                logger.removeHandler(old)
                if old not in handlers:
                    old.close()
            logger.handlers.extend(handlers)
            logger.propagate = False
            logger.setLevel(self._level)
        _claim_basicsr_logger()


class ProgressBar:
    """Iterations, loss, it/s and time left, where stderr is a terminal; nothing elsewhere (the log has its lines)."""

    def __init__(self, total: int, start: int, is_master: bool) -> None:
        """Begin at iteration ``start`` of ``total``."""
        hidden = None if is_master else True
        self._bar = tqdm(total=total, initial=start, unit='it', desc='train', disable=hidden, dynamic_ncols=True)

    def reach(self, iteration: int) -> None:
        """Move to ``iteration``."""
        self._bar.update(iteration - self._bar.n)

    def show(self, values: dict[str, Any]) -> None:
        """Show the losses (``l_...``) of the last line of the log."""
        losses = {key: f'{float(value):.3g}' for key, value in values.items() if key.startswith('l_')}
        self._bar.set_postfix(dict(list(losses.items())[:3]), refresh=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def _claim_basicsr_logger() -> None:
    """Tell BasicSR that its logger is set up, or it would add a second handler."""
    from basicsr.utils import logger

    logger.initialized_logger['basicsr'] = True
