"""What is rare in a collection is drawn more often: turned faces by ranges of yaw, groups of people by file names."""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from ..components import LANDMARKS_FILE, YAW_EDGES, read_yaws

TURNED = 3  # edges up to 'turned'; profiles count as turned, or a dozen of them would be seen all the time


@dataclasses.dataclass(frozen=True)
class Lot:
    """A share of the samples, 0 to 1, that is drawn from ``bins`` of file indices, each bin as likely."""

    share: float
    bins: tuple[np.ndarray, ...]


@dataclasses.dataclass(frozen=True)
class Balance:
    """Lots whose shares add up to at most 1; what is left keeps the sampler's choice."""

    lots: tuple[Lot, ...]

    def choose(self, index: int, rng: np.random.Generator) -> int:
        """Return ``index``, or with a lot's chance a file of one of its bins."""
        draw = rng.random()
        for lot in self.lots:
            if draw < lot.share:
                return int(rng.choice(lot.bins[rng.integers(len(lot.bins))]))
            draw -= lot.share
        return index


def by_pose(share: float, names: Sequence[str], root: Path, where: str) -> Lot:
    """Sort the files ``names`` of ``root`` by the landmarks.csv beside them: frontal, slightly turned, turned.

    Files without landmarks are in no bin.

    Raises:
        UsageError: there is no landmarks.csv, it is not one, or it knows none of the files.
    """
    path = root / LANDMARKS_FILE
    if not path.is_file():
        raise UsageError(
            f'{where}.pose_balance: no {str(path)!r} to tell how far faces are turned; `mmrbgan prepare` '
            'makes one beside a folder of faces; or remove pose_balance'
        )
    yaws = read_yaws(path)
    turned = np.abs([yaws.get(name, np.nan) for name in names])
    edges = (*YAW_EDGES[:TURNED], np.inf)
    bins = [np.flatnonzero((turned >= low) & (turned < high)) for low, high in itertools.pairwise(edges)]
    if not any(map(len, bins)):
        raise UsageError(f'{path}: knows none of the {len(names)} images; make it again with `mmrbgan prepare`')
    return Lot(share, tuple(files for files in bins if len(files)))


def by_group(share: float, names: Sequence[str], pattern: str, where: str) -> Lot:
    """Sort files by what the first group of ``pattern``, a regular expression, finds in their names.

    Files in which it finds nothing are in no bin.

    Raises:
        UsageError: no file's name matches.
    """
    found: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if match := re.search(pattern, name):
            found.setdefault(match[1], []).append(index)
    if not found:
        raise UsageError(f'{where}.group_pattern: {pattern!r} matches none of the {len(names)} names, as {names[0]!r}')
    return Lot(share, tuple(np.array(files) for files in found.values()))
