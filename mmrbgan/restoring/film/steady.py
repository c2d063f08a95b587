"""Steadiness: restored faces of a track are averaged over neighbouring frames, in the aligned frame, where it is still.

What moved inside the face (a blink, a mouth) is told by the inputs: where a neighbour's input differs from this
frame's by more than noise, its weight falls to 0, as in a bilateral filter (Tomasi and Manduchi, ICCV 1998). Light and
colour that change slowly over the face come from this frame alone (``paste.keep_colour`` after this).
"""

import dataclasses
from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np

from ..tone import tone_of

RADIUS = 4  # frames on either side
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
GUIDE_SIGMA = 1 / 96  # of the crop's side: finer differences of inputs are noise
LIGHT_SIGMA = 1 / 8  # of the crop's side: slower ones are light
LEAST_NOISE = 0.6 / 255  # of the guides' differences; below it is rounding
STILL, MOVED = 2.5, 5.0  # in parts of the noise: differences up to here weigh all, from here on nothing


@dataclasses.dataclass(frozen=True, eq=False)
class Moment:
    """A track in one frame.

    Attributes:
        before: (s, s, 3) float32 RGB, the aligned input.
        after: (s, s, 3), restored.
        guide: (s, s) float32, what is compared.
        toned: the input is grey or toned, as ``tone.tone_of`` tells.
    """

    before: np.ndarray
    after: np.ndarray
    guide: np.ndarray
    toned: bool


def moment(before: np.ndarray, after: np.ndarray) -> Moment:
    """Return the moment of an aligned input and what the network made of it."""
    size = before.shape[0]
    luma = before @ LUMA
    fine = cv2.GaussianBlur(luma, (0, 0), max(0.5, GUIDE_SIGMA * size))
    # The light: by a quarter of the size, for speed.
    small = cv2.resize(fine, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(small, (0, 0), LIGHT_SIGMA * size / 4, borderType=cv2.BORDER_REPLICATE)
    toned = tone_of(before) is not None
    return Moment(before, after, fine - cv2.resize(light, luma.shape[::-1], interpolation=cv2.INTER_LINEAR), toned)


def steady_face(now: Moment, others: Sequence[Moment], steady: float) -> np.ndarray:
    """Return the restored face (s, s, 3) of ``now``, averaged with ``others`` of the same track where it is still.

    Args:
        now: this frame.
        others: its neighbours, before and after.
        steady: 0 to 1, the weight of a neighbour.
    """
    if steady == 0 or not others:
        return now.after
    total = now.after.copy()
    weight = np.ones(now.guide.shape, np.float32)
    for other in others:
        share = steady * stillness(now.guide - other.guide)
        total += share[:, :, None] * (other.after + (_light(now) - _light(other)))
        weight += share
    return total / weight[:, :, None]


def stillness(difference: np.ndarray) -> np.ndarray:
    """Return (s, s) in [0, 1]: 1 where two guides differ by no more than noise, 0 where something moved."""
    # The median is noise as long as less than half of the face moves; a Gaussian's deviation is 1.48 times that.
    size = np.abs(difference)
    inner = size[size.shape[0] // 4 : -(size.shape[0] // 4) or None, size.shape[1] // 4 : -(size.shape[1] // 4) or None]
    noise = max(LEAST_NOISE, 1.4826 * float(np.median(inner)))
    # A moved edge moves as a whole: the largest difference around, softly.
    near = cv2.GaussianBlur(cv2.dilate(size, np.ones((3, 3), np.uint8)), (0, 0), max(0.8, GUIDE_SIGMA * size.shape[0]))
    return np.clip((MOVED - near / noise) / (MOVED - STILL), 0, 1).astype(np.float32)


def _light(one: Moment) -> np.ndarray:
    """Return the mean colour of the input (3,)."""
    return one.before.mean((0, 1))


class History:
    """Keeps the moments of each track within ``RADIUS`` frames of the one that is made."""

    def __init__(self, radius: int = RADIUS) -> None:
        self.radius = radius
        self._moments: dict[int, deque[tuple[int, Moment]]] = {}

    def add(self, track: int, index: int, one: Moment) -> None:
        """Note a track's moment in frame ``index``; frames come in order."""
        self._moments.setdefault(track, deque()).append((index, one))

    def around(self, track: int, index: int) -> tuple[Moment, list[Moment]]:
        """Return a track's moment in frame ``index`` and its neighbours."""
        found = {i: one for i, one in self._moments[track] if abs(i - index) <= self.radius}
        return found[index], [one for i, one in found.items() if i != index]

    def forget(self, before: int) -> None:
        """Drop what lies before frame ``before``."""
        for track, moments in list(self._moments.items()):
            while moments and moments[0][0] < before:
                moments.popleft()
            if not moments:
                del self._moments[track]
