"""Turned faces are rare in every collection: draw a share of the samples from each range of yaw equally often."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from ..components import LANDMARKS_FILE, YAW_EDGES, read_yaws

TURNED = 3  # edges up to 'turned'; profiles count as turned, or a dozen of them would be seen all the time


@dataclasses.dataclass(frozen=True)
class PoseBalance:
    """Files by how far their face is turned.

    Attributes:
        share: of the samples that are drawn by pose, 0 to 1.
        bins: indices of the files of frontal, slightly turned and turned faces, where there are any.
    """

    share: float
    bins: tuple[np.ndarray, ...]

    def choose(self, index: int, rng: np.random.Generator) -> int:
        """Return ``index``, or with the chance ``share`` a file of a range drawn first, each range as likely."""
        if rng.random() >= self.share:
            return index
        return int(rng.choice(self.bins[rng.integers(len(self.bins))]))


def balance_poses(share: float, names: Sequence[str], root: Path, where: str) -> PoseBalance:
    """Sort the files ``names`` of ``root`` by the landmarks.csv beside them; files without landmarks are in no range.

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
    return PoseBalance(share, tuple(files for files in bins if len(files)))
