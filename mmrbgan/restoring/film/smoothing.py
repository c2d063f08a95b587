"""From what the tracker saw to what is restored: smooth alignment without lag, gaps bridged, strength faded at ends.

A frame is settled once the next ``LOOK_AHEAD`` frames are known, so that smoothing looks both ways.
"""

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np

from mmrbgan_data.alignment import alignment_matrix, compose, invert, resize_matrix, scale_of
from mmrbgan_data.components import REFERENCE_SIZE

from .reading import FilmFrame
from .tracking import MOST_MISSED, Sighting, Sightings
from .views import View, from_view

WINDOW = 6  # frames on either side that the alignment is smoothed over
SIGMA = 2.5  # frames, of the smoothing's weights
FADE = 6  # frames in which the strength goes from 0 to 1 where a face appears or is lost within a shot
LEAST_FRAMES = 5  # a face seen in fewer, within a shot, is a mistake of the detector
LOOK_AHEAD = max(WINDOW, FADE + max(MOST_MISSED, LEAST_FRAMES) + 1)
BOX_SHARE = 0.6  # a detector's box in parts of the aligned crop
TAKE_OVER = 1.3  # another face becomes 'the largest' when it is so many times larger


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedFace:
    """A face of a frame that is restored.

    Attributes:
        track: its number.
        matrix: (2, 3), from the frame's stored pixels to those of an aligned face of 512 px.
        fade: 0 to 1, the strength's share.
    """

    track: int
    matrix: np.ndarray
    fade: float

    def to_crop(self, size: int) -> np.ndarray:
        """Return the (2, 3) matrix to an aligned face of ``size`` pixels."""
        result: np.ndarray = compose(resize_matrix(size / REFERENCE_SIZE), self.matrix)
        return result


@dataclasses.dataclass(eq=False)
class TrackRecord:
    """What a report says of a track: frames, mean score, and where it was in the middle frame it was last noted in.

    Attributes:
        number: of the track.
        first: its first frame.
        last: its last frame.
        frames: in how many it was restored.
        score: the detector's, mean.
        side: px, its largest side in the film's pixels.
        skipped: why it was left alone, or None.
    """

    number: int
    first: int
    last: int
    frames: int = 0
    score: float = 0.0
    side: float = 0.0
    skipped: str | None = None


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which faces of a film are restored.

    Attributes:
        which: all, largest or center.
        min_face: least side in the film's pixels.
        left_alone: numbers of tracks that a report says to leave.
    """

    which: str = 'all'
    min_face: float = 20.0
    left_alone: frozenset[int] = frozenset()


@dataclasses.dataclass(eq=False)
class _Moment:
    """A frame in the window: the frame, whether a shot begins, and the wanted tracks' state."""

    view: View
    cut: bool
    faces: dict[int, Sighting]
    poses: dict[int, np.ndarray]


class Smoother:
    """Settles the faces of each frame; ``records`` tells of all tracks afterwards."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.records: dict[int, TrackRecord] = {}
        self._favourite: int | None = None
        self._moments: deque[_Moment] = deque()
        self._here = 0  # place of the frame that is settled in ``_moments``
        self._firsts: dict[int, tuple[int, bool]] = {}  # track -> its first frame, and whether a shot began there

    def run(self, tracked: Iterable[tuple[View, Sightings]]) -> Iterator[tuple[FilmFrame, list[PlacedFace]]]:
        """Yield each frame with the faces to restore in it."""
        for view, sightings in tracked:
            self._moments.append(self._moment(view, sightings))
            if len(self._moments) - self._here > LOOK_AHEAD:
                yield self._settle()
        while self._here < len(self._moments):
            yield self._settle()

    def _moment(self, view: View, sightings: Sightings) -> _Moment:
        to_film = from_view(view.info, view.size)
        poses = {face.track: _pose(face.points) for face in sightings.faces}
        for number in poses:
            self._firsts.setdefault(number, (view.frame.index, sightings.cut))
        sides = {number: face_side(pose) * scale_of(to_film) for number, pose in poses.items()}
        for face in sightings.faces:
            self._note(face, view.frame.index, sides[face.track])
        chosen = self._choose(sides, poses, view.grey.shape)
        return _Moment(view, sightings.cut, {f.track: f for f in sightings.faces if f.track in chosen}, poses)

    def _note(self, face: Sighting, index: int, side: float) -> None:
        if not face.seen:
            return
        record = self.records.setdefault(face.track, TrackRecord(face.track, index, index))
        record.last, record.side = index, max(record.side, side)
        record.score = face.score if record.score == 0 else 0.9 * record.score + 0.1 * face.score

    def _choose(self, sides: dict[int, float], poses: dict[int, np.ndarray], shape: tuple[int, ...]) -> set[int]:
        fits = {n: side for n, side in sides.items() if side >= self.wanted.min_face}
        fits = {n: side for n, side in fits.items() if n not in self.wanted.left_alone}
        if self.wanted.which == 'all' or not fits:
            return set(fits)
        middle = np.array([shape[1], shape[0]]) / 2
        rank = {n: -side for n, side in fits.items()}
        if self.wanted.which == 'center':
            rank = {n: float(np.linalg.norm(poses[n][2:] - middle)) + 1 for n in fits}
        best = min(rank, key=lambda n: rank[n])
        old = self._favourite
        # A favourite stays until another is clearly better, or the choice would flicker.
        if old not in rank or max(rank[best] / rank[old], rank[old] / rank[best]) > TAKE_OVER:
            self._favourite = best
        return {self._favourite} if self._favourite is not None else set()

    def _settle(self) -> tuple[FilmFrame, list[PlacedFace]]:
        here = self._here
        moment = self._moments[here]
        to_film = invert(from_view(moment.view.info, moment.view.size))
        placed = []
        for number in moment.faces:
            if not self._present(number, here):
                continue
            matrix = compose(_matrix(self._smooth(number, here)), to_film)
            placed.append(PlacedFace(number, matrix, self._fade(number, here)))
            self.records[number].frames += 1
        self._here += 1
        if self._here > LOOK_AHEAD:
            self._moments.popleft()
            self._here -= 1
        return moment.view.frame, placed

    def _present(self, number: int, place: int) -> bool:
        """Say whether a track is restored in the frame at ``place``: seen then or again soon, and for long enough."""
        moments = self._moments
        if number not in moments[place].faces:
            return False
        following = range(place, min(place + MOST_MISSED + 1, len(moments)))
        if not any(number in moments[i].faces and moments[i].faces[number].seen for i in following):
            return False
        return self._lasts(number, place)

    def _lasts(self, number: int, place: int) -> bool:
        """Say whether a track lasts for ``LEAST_FRAMES``, or for a whole shot that is shorter."""
        first, after_cut = self._firsts[number]
        index = self._moments[0].view.frame.index
        last, ended = place, True
        for i in range(place + 1, len(self._moments)):
            if self._moments[i].cut:
                break
            if number not in self._moments[i].faces:
                ended = False
                break
            last = i if self._moments[i].faces[number].seen else last
        if index + last - first + 1 >= LEAST_FRAMES:
            return True
        return after_cut and ended

    def _fade(self, number: int, place: int) -> float:
        """Return the strength's share: below 1 near an end that is not a shot's."""
        distance = FADE + 1
        for i in range(place, max(place - FADE, 0), -1):
            if self._moments[i].cut:
                break
            if not self._present(number, i - 1):
                distance = min(distance, place - i + 1)
                break
        for i in range(place + 1, min(place + FADE + 1, len(self._moments))):
            if self._moments[i].cut:
                break
            if not self._present(number, i):
                distance = min(distance, i - place)
                break
        return distance / (FADE + 1)

    def _smooth(self, number: int, place: int) -> np.ndarray:
        """Return the pose by a local polynomial over the window, which follows turns and stops without lag."""
        low = place
        while low > max(0, place - WINDOW) and not self._moments[low].cut and number in self._moments[low - 1].poses:
            low -= 1
        high = place
        while high < min(len(self._moments) - 1, place + WINDOW) and number in self._moments[high + 1].poses:
            high += 1
        poses = np.stack([self._moments[i].poses[number] for i in range(low, high + 1)])
        return local_fit(np.arange(low, high + 1) - place, poses)


def local_fit(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the value at time 0 of a polynomial fitted to ``values`` (n, k) at ``times`` (n,), the near ones heavier.

    It is quadratic where there are enough values, so that a curve's turning points are not cut off
    (Savitzky and Golay, Analytical Chemistry 36, 1964).
    """
    degree = 2 if len(times) >= 7 else 1 if len(times) >= 3 else 0
    weights = np.sqrt(np.exp(-0.5 * (times / SIGMA) ** 2))[:, None]
    basis = np.vander(times.astype(float), degree + 1, increasing=True)
    result: np.ndarray = np.linalg.lstsq(basis * weights, values * weights, rcond=None)[0][0]
    return result


def face_side(pose: np.ndarray) -> float:
    """Return about the side of a detector's box, in the view's pixels."""
    result: float = BOX_SHARE * REFERENCE_SIZE * float(np.hypot(pose[0], pose[1]))
    return result


def _pose(points: np.ndarray) -> np.ndarray:
    """Return (4,): scale times cosine and sine of the turn from an aligned face to the view, and its middle there."""
    back = invert(alignment_matrix(points, REFERENCE_SIZE))
    middle = back[:, :2] @ np.full(2, REFERENCE_SIZE / 2) + back[:, 2]
    return np.array([back[0, 0], back[1, 0], *middle])


def _matrix(pose: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix from the view to an aligned face of 512 px; what ``_pose`` undoes."""
    turn = np.array([[pose[0], -pose[1]], [pose[1], pose[0]]])
    result: np.ndarray = invert(np.column_stack([turn, pose[2:] - turn @ np.full(2, REFERENCE_SIZE / 2)]))
    return result
