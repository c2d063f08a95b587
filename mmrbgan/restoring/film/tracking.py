"""Follows faces from frame to frame: optical flow between detections, which are rare while the flow is sure.

Points are moved by pyramidal Lucas-Kanade flow of features inside the face, forth and back (Kalal et al.,
Forward-backward error, ICPR 2010), and a similarity fitted to it; a detection corrects the drift; a cut ends tracks.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np

from mmrbgan_data.alignment import alignment_matrix, apply, five_points, warp
from mmrbgan_data.detected_face import DetectedFace, Detector

from .views import View

INTERVAL = 8  # frames between detections while every track is sure
MOST_MISSED = 5  # frames that a face may be gone and is still the same
CONFIRM = 2  # frames after which a new face is looked for again
MOST_DOUBTS = 3  # detections in a row that may not find a face that the flow is sure of, as of one that turns away
CORRECTION = 0.3  # share of what a detection says otherwise than the flow that is taken over
THUMB = 32  # px, side of the aligned face by which a face that jumped is known again
ALIKE = 0.5  # least correlation of two such faces of one person
FLOW: dict[str, Any] = {
    'winSize': (15, 15),
    'maxLevel': 3,
    'criteria': (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01),
}
MOST_FEATURES, LEAST_FEATURES = 60, 8
SURE_RETURN, SURE_SHARE = (
    0.5,
    0.5,
)  # px that a sure feature may miss its start by, forth and back; how many must be sure
TINY = (48, 27)  # px, in which cuts are looked for
CUT_LEVEL = 14.0  # least mean change there, of 255
SAME_SHOT = 0.6  # correlation of tiny frames, one shifted to fit, above which nothing is a cut
MOST_SHIFT = (10, 6)  # px there, of a pan between two frames


@dataclasses.dataclass(eq=False)
class Track:
    """A face that is followed.

    Attributes:
        number: from 1, in order of appearance.
        points: (5, 2) in the view's pixels, in the present frame.
        score: the detector's, last.
        first: frame of its start.
        after_cut: it began with a shot.
        missed: frames since it was last seen.
        hits: detections that found it.
        doubts: detections since then that did not.
        thumb: (24, 20) float32, how it looked when a detection last found it, aligned.
    """

    number: int
    points: np.ndarray
    score: float
    first: int
    after_cut: bool
    thumb: np.ndarray
    missed: int = 0
    hits: int = 1
    doubts: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Sighting:
    """A track in one frame.

    Attributes:
        track: its number.
        points: (5, 2) eye centres, nose tip, mouth corners, in the view's pixels.
        score: the detector's.
        seen: False: bridged, and worth nothing if the face never comes back.
    """

    track: int
    points: np.ndarray
    score: float
    seen: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Sightings:
    """All tracks in one frame, and whether a shot begins with it."""

    cut: bool
    faces: tuple[Sighting, ...]


class Tracker:
    """Follows all faces of a film, frame after frame.

    Args:
        detector: finds faces in RGB uint8 (h, w, 3).
        interval: frames between detections while every track is sure; 1 detects in every frame.
    """

    def __init__(self, detector: Detector, interval: int = INTERVAL) -> None:
        self.detector = detector
        self.interval = interval
        self.detections = 0
        self._tracks: list[Track] = []
        self._numbers = itertools.count(1)
        self._grey: np.ndarray | None = None
        self._cuts = CutFinder()
        self._index = 0
        self._next_detection = 0

    def step(self, view: View) -> Sightings:
        """Return the faces of the next frame."""
        grey = view.grey
        cut = self._cuts.is_cut(grey)
        if cut:
            self._tracks, self._next_detection = [], self._index
        seen = {track.number for track in self._tracks if self._follow(track, grey)}
        unsure = len(seen) < len(self._tracks)
        if self._index >= self._next_detection or unsure:
            seen |= self._detect(view, cut or self._index == 0, seen)
            new = any(track.hits == 1 for track in self._tracks)
            self._next_detection = self._index + (min(CONFIRM, self.interval) if new else self.interval)
        sightings = self._sightings(seen)
        self._grey = grey
        self._index += 1
        return Sightings(cut or self._index == 1, sightings)

    def _follow(self, track: Track, grey: np.ndarray) -> bool:
        """Move a track's points with the flow; say whether that is sure, and still looks like the face."""
        assert self._grey is not None
        moved = flow(self._grey, grey, track.points)
        if moved is None:
            return False
        track.points = moved
        return self._is_alike(track, moved, grey)

    def _detect(self, view: View, shot_begins: bool, sure: set[int]) -> set[int]:
        """Correct the tracks by a detection, begin new ones; return the numbers of those that were found."""
        self.detections += 1
        found = [(face, five_points(face.landmarks)) for face in self.detector(view.rgb())]
        seen = set()
        for track in self._tracks:
            match = min(found, key=lambda each: _apart(track.points, each[1]), default=None)
            if match is not None and self._is_same(track, match[1], view.grey, track.number in sure):
                found = [each for each in found if each is not match]
                self._correct(track, *match, CORRECTION if track.number in sure else 1.0, view.grey)
                seen.add(track.number)
            else:
                track.doubts += 1
        # What is found once and not again was no face.
        self._tracks = [track for track in self._tracks if track.doubts <= (MOST_DOUBTS if track.hits > 1 else 0)]
        return seen | {begun.number for each in found if (begun := self._begin(*each, shot_begins, view.grey))}

    def _is_same(self, track: Track, points: np.ndarray, grey: np.ndarray, sure: bool) -> bool:
        """Say whether a face that is found is a track's: where it is thought to be, and like it where flow lost it."""
        if _apart(track.points, points) > 1:
            return False
        return sure or self._is_alike(track, points, grey)

    @staticmethod
    def _is_alike(track: Track, points: np.ndarray, grey: np.ndarray) -> bool:
        return float((track.thumb * _thumb(grey, points)).mean()) > ALIKE

    @staticmethod
    def _correct(track: Track, face: DetectedFace, points: np.ndarray, share: float, grey: np.ndarray) -> None:
        track.points = track.points + share * (points - track.points)
        track.score, track.hits, track.doubts = face.score, track.hits + 1, 0
        track.thumb = _thumb(grey, track.points)

    def _begin(self, face: DetectedFace, points: np.ndarray, shot_begins: bool, grey: np.ndarray) -> Track | None:
        if any(_apart(track.points, points) < 0.5 and track.missed == 0 for track in self._tracks):
            return None  # one face found twice
        track = Track(next(self._numbers), points, face.score, self._index, shot_begins, _thumb(grey, points))
        self._tracks.append(track)
        return track

    def _sightings(self, seen: set[int]) -> tuple[Sighting, ...]:
        for track in self._tracks:
            track.missed = 0 if track.number in seen else track.missed + 1
        self._tracks = [track for track in self._tracks if track.missed <= MOST_MISSED]
        return tuple(
            Sighting(track.number, track.points.copy(), track.score, track.missed == 0) for track in self._tracks
        )


class CutFinder:
    """Tells a cut: a frame that differs much from the one before, and that no pan explains."""

    def __init__(self) -> None:
        self.grey = np.empty((0, 0), np.uint8)
        self._tiny: np.ndarray | None = None

    def is_cut(self, grey: np.ndarray) -> bool:
        """Take the next frame, uint8 (h, w)."""
        self.grey = grey
        before, self._tiny = self._tiny, cv2.resize(grey, TINY, interpolation=cv2.INTER_AREA).astype(np.float32)
        if before is None:
            return False
        change = float(np.abs(self._tiny - before).mean())
        return change > CUT_LEVEL and _likeness(self._tiny, before) < SAME_SHOT


def track_all(views: Iterable[View], tracker: Tracker) -> Iterator[tuple[View, Sightings]]:
    """Yield each view with its faces."""
    for view in views:
        yield view, tracker.step(view)


def flow(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray | None:
    """Return ``points`` (5, 2) moved as the face moves between two uint8 frames (h, w), or None if that is unsure."""
    left, top, right, bottom = _inner_box(points, before.shape)
    if right - left < 8 or bottom - top < 8:
        return None
    patch = before[top:bottom, left:right]
    spacing = max(2, (right - left) // 12)
    corners = cv2.goodFeaturesToTrack(patch, MOST_FEATURES, 0.01, spacing)
    if corners is None or len(corners) < LEAST_FEATURES:
        return None
    start = corners + np.array([left, top], np.float32)
    no_guess: Any = None
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, start, no_guess, **FLOW)
    back, returned, _ = cv2.calcOpticalFlowPyrLK(after, before, there, no_guess, **FLOW)
    missed = np.linalg.norm(back - start, axis=2)[:, 0]
    sure = (found[:, 0] == 1) & (returned[:, 0] == 1) & (missed < SURE_RETURN)
    if sure.sum() < max(LEAST_FEATURES, SURE_SHARE * len(start)):
        return None
    # The least-squares fit inside RANSAC draws from OpenCV's own generator, which each call seeds alike.
    matrix, inliers = cv2.estimateAffinePartial2D(start[sure], there[sure], ransacReprojThreshold=1.0)
    if matrix is None or inliers.sum() < max(LEAST_FEATURES, SURE_SHARE * sure.sum()):
        return None
    result: np.ndarray | None = apply(matrix, points)
    return result


def _inner_box(points: np.ndarray, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the part of a face that hardly ever shows background."""
    middle, reach = points.mean(0), 0.9 * _reach(points)
    low = np.clip(np.floor(middle - reach), 0, [shape[1], shape[0]]).astype(int)
    high = np.clip(np.ceil(middle + reach), 0, [shape[1], shape[0]]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _reach(points: np.ndarray) -> float:
    """Return the size of a face: twice the root mean square distance of its points from their middle."""
    return 2 * float(np.sqrt(np.square(points - points.mean(0)).sum(1).mean()))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return how far two faces are apart, or differ in size, in parts of their size."""
    reach_a, reach_b = _reach(a), _reach(b)
    if min(reach_a, reach_b) < 0.5 * max(reach_a, reach_b):
        return np.inf
    return float(np.linalg.norm(a.mean(0) - b.mean(0)) / max(reach_a, reach_b))


def _thumb(grey: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the middle (24, 20) of the aligned face, mean 0 and deviation 1."""
    face = warp(grey, alignment_matrix(points, THUMB), (THUMB, THUMB), interpolation=cv2.INTER_LINEAR)
    face = face[6:-2, 6:-6].astype(np.float32)
    result: np.ndarray = (face - face.mean()) / (face.std() + 1e-3)
    return result


def _likeness(tiny: np.ndarray, before: np.ndarray) -> float:
    """Return the best correlation of the middle of ``tiny`` with ``before``, wherever a pan may have moved it."""
    x, y = MOST_SHIFT
    return float(cv2.matchTemplate(before, tiny[y:-y, x:-x], cv2.TM_CCOEFF_NORMED).max())
