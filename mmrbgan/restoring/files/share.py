"""Shares the photographs of one call among processes that write into one folder.

Inputs whose results could meet under one name go to one process, in their order, so that every result has the name that
a single process would have given it.
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

ENDINGS = re.compile(r'(_sheet|_\d+)+$')  # what ``OutputFolder.path_for`` puts between name and suffix
KEPT = 48  # characters of a long name that it surely keeps


class Share:
    """What this process does of all; this class is the share of a process that is alone."""

    rank, size = 0, 1
    part = ''
    """Ending of this process's list of results; what is finished is noted there, for the start after a kill."""

    def join(self) -> None:
        """Meet the other processes; called once, when the networks are loaded."""

    def gather(self, value: Any) -> list[Any]:
        """Wait for all processes and return the ``value`` of each."""
        return [value]

    def own(self, inputs: Iterable[tuple[Path, PurePosixPath]]) -> list[tuple[Path, PurePosixPath]]:
        """Return the inputs, each with its name below the output folder, that this process restores."""
        ranks: dict[tuple[str, str], int] = {}
        return [each for each in inputs if ranks.setdefault(_group(each[1]), len(ranks) % self.size) == self.rank]


def _group(relative: PurePosixPath) -> tuple[str, str]:
    """Return what names have in common that could become one."""
    return str(relative.parent).lower(), ENDINGS.sub('', relative.stem)[:KEPT].lower()
