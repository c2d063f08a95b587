"""Steadiness: restored faces of a track are averaged over neighbouring frames, in the aligned frame, where it is still.

What moved inside the face (a blink, a mouth) is told by the inputs: where a neighbour's input differs from this
frame's by more than noise, its weight falls to 0, as in a bilateral filter (Tomasi and Manduchi, ICCV 1998). Light and
colour that change slowly over the face come from this frame alone (``paste.keep_colour`` after this).

What is finer than the network stays the film's own, noise and all; its luma is averaged likewise, or it would boil.
"""

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..tone import tone_of

RADIUS = 4  # frames on either side
FINE = 2  # times the crop's size, in which luma finer than the network is averaged
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
        light: (3,) mean colour of the input.
        toned: the input is grey or toned, as ``tone.tone_of`` tells.
        fine: (``FINE`` s, ``FINE`` s) float32, the input's luma finer than the crop; None: nothing is.
    """

    before: np.ndarray
    after: np.ndarray
    guide: np.ndarray
    light: np.ndarray
    toned: bool
    fine: np.ndarray | None = None


def moment(before: np.ndarray, after: np.ndarray, luma: np.ndarray | None = None) -> Moment:
    """Return the moment of an aligned input and what the network made of it.

    Args:
        before: (s, s, 3) float32 RGB, the aligned input.
        after: (s, s, 3), restored.
        luma: (``FINE`` s, ``FINE`` s) float32, that of the input in a larger crop.
    """
    fine = None if luma is None else luma - enlarged(before @ LUMA)
    size = before.shape[0]
    luma = before @ LUMA
    guide = cv2.GaussianBlur(luma, (0, 0), max(0.5, GUIDE_SIGMA * size))
    # The light: by a quarter of the size, for speed.
    small = cv2.resize(guide, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    light = cv2.GaussianBlur(small, (0, 0), LIGHT_SIGMA * size / 4, borderType=cv2.BORDER_REPLICATE)
    guide = guide - cv2.resize(light, luma.shape[::-1], interpolation=cv2.INTER_LINEAR)
    toned = tone_of(before[::2, ::2]) is not None  # every second pixel, for speed
    return Moment(before, after, guide, np.array(cv2.mean(before)[:3]), toned, fine)


def steady_face(now: Moment, others: Sequence[Moment], steady: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a restored face averaged with its neighbours where it is still, and the change of its finer luma.

    Args:
        now: this frame.
        others: its neighbours of the same track, before and after.
        steady: 0 to 1, the weight of a neighbour.

    Returns:
        (s, s, 3), and (``FINE`` s, ``FINE`` s) or None.
    """
    if steady == 0 or not others:
        return now.after, None
    total, weight = now.after.copy(), np.ones(now.guide.shape, np.float32)
    fine = None if now.fine is None else np.zeros_like(now.fine)
    for other in others:
        share = steady * stillness(now.guide - other.guide)
        drift: Any = (*(now.light - other.light), 0.0)
        cv2.accumulateProduct(cv2.add(other.after, drift), cv2.merge([share] * 3), total)
        weight += share
        if fine is not None and now.fine is not None and other.fine is not None:
            cv2.accumulateProduct(cv2.subtract(other.fine, now.fine), enlarged(share), fine)
    change = None if fine is None else fine / enlarged(weight)
    return cv2.divide(total, cv2.merge([weight] * 3)), change


def enlarged(values: np.ndarray) -> np.ndarray:
    """Return (s, s) ``FINE`` times as large."""
    return cv2.resize(values, None, fx=FINE, fy=FINE, interpolation=cv2.INTER_LINEAR)


def stillness(difference: np.ndarray) -> np.ndarray:
    """Return (s, s) in [0, 1]: 1 where two guides differ by no more than noise, 0 where something moved."""
    # The median is noise as long as less than half of the face moves; a Gaussian's deviation is 1.48 times that.
    size = np.abs(difference)
    inner = size[size.shape[0] // 4 : -(size.shape[0] // 4) or None, size.shape[1] // 4 : -(size.shape[1] // 4) or None]
    noise = max(LEAST_NOISE, 1.4826 * float(np.median(inner)))
    # A moved edge moves as a whole: the largest difference around, softly.
    near = cv2.GaussianBlur(cv2.dilate(size, np.ones((3, 3), np.uint8)), (0, 0), max(0.8, GUIDE_SIGMA * size.shape[0]))
    result: np.ndarray = np.clip((MOVED - near / noise) / (MOVED - STILL), 0, 1).astype(np.float32)
    return result


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
