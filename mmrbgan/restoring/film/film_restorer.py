"""Restores the frames of a film: reading, following faces, the network and pasting overlap, in constant memory.

What a frame becomes depends on its neighbours only, and on no state of the network's: begun anew at any segment, the
frames are the same bit for bit.
"""

import dataclasses
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import compose, invert, resize_matrix, scale_of, template

from ..identity_guard import guard_strength
from ..paste import keep_colour
from ..restorer import Restorer
from ..settings import Settings
from ..tone import keep_tone
from .overlap import ahead
from .planes import PlaneChange, crop_face, crop_luma, enlarge_planes, paste_changes
from .reading import FilmFrame, FilmInfo, read_frames
from .smoothing import PlacedFace, Smoother, Wanted
from .steady import FINE, History, Moment, moment, steady_face
from .tracking import INTERVAL, Tracker, track_all
from .views import View, view_size

BLOCK = 5  # frames whose faces go through the network together, always the same ones: sums depend on the batch
GUARD_BLOCK = 25  # frames between two looks of the identity guard at a track
GUARD_RAMP = 10  # frames in which a strength that it changed is reached
READ_AHEAD, TRACK_AHEAD, NETWORK_AHEAD, PASTE_AHEAD = 4, 4, 4, 4  # frames


@dataclasses.dataclass(frozen=True)
class FilmSettings:
    """What is done to films besides what is done to photographs."""

    steady: float = 1.0
    """0: frame by frame; 1: restored faces are averaged over neighbouring frames where nothing moved."""
    deinterlace: bool = False
    """Make whole frames of two fields."""
    interval: int = INTERVAL
    """Frames between detections while every track is sure."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.steady <= 1:
            raise UsageError(f'--steady {self.steady:g}: must lie between 0 and 1')
        if self.interval < 1:
            raise UsageError(f'--detect-every {self.interval}: must be at least 1')


@dataclasses.dataclass(frozen=True, eq=False)
class FilmFace:
    """A face of one frame, through the network."""

    placed: PlacedFace
    moment: Moment
    grey: bool
    strength: float


@dataclasses.dataclass(frozen=True, eq=False)
class RestoredFrame:
    """A frame before and after (planar PyAV frames), and the tracks of the faces that were pasted into it."""

    frame: FilmFrame
    before: Any
    after: Any
    tracks: tuple[int, ...]


@dataclasses.dataclass
class Score:
    """The least similarity and strength that the identity guard saw in a track."""

    similarity: float
    strength: float


class FilmRestorer:
    """Restores one film.

    Args:
        restorer: its networks.
        info: the film.
        settings: as of photographs.
        film_settings: what films have besides.
        left_alone: tracks that a report says to leave.
    """

    def __init__(
        self,
        restorer: Restorer,
        info: FilmInfo,
        settings: Settings,
        film_settings: FilmSettings | None = None,
        left_alone: Iterable[int] = (),
    ) -> None:
        if settings.aligned:
            raise UsageError(f'{info.path}: --aligned is for pictures; leave it out for films')
        self.restorer, self.info, self.settings = restorer, info, settings
        self.film_settings = film_settings or FilmSettings()
        self.tracker = Tracker(restorer.detector, self.film_settings.interval)
        self.smoother = Smoother(Wanted(str(settings.faces), settings.min_face, frozenset(left_alone)))
        self.scores: dict[int, Score] = {}
        self.guarded = settings.measure_identity or settings.min_identity is not None
        self.history = History()
        if self.film_settings.steady == 0:
            self.history.radius = 0
        self._guard: dict[int, tuple[int, float, float]] = {}  # track -> block, strength before it, strength in it
        self._size = restorer.network.size
        self._ellipse = restorer.mask(  # of five points it is always the same
            np.zeros((self._size, self._size, 3), np.float32), template(self._size), resize_matrix(1)
        )

    def frames(self, start: int = 0) -> Generator[RestoredFrame, None, None]:
        """Yield the restored frames from number ``start`` on; those before are read and followed only."""
        views = ahead(self._views(), READ_AHEAD)
        placed = ahead(self.smoother.run(track_all(views, self.tracker)), TRACK_AHEAD)
        through = ahead(self._through_network(placed, start), NETWORK_AHEAD)
        return ahead(self._pasted(through, start), PASTE_AHEAD)

    def _views(self) -> Iterator[View]:
        size = view_size(self.info)
        for frame in read_frames(self.info, self.film_settings.deinterlace):
            with self.restorer.times.stage('view'):
                view = View(self.info, frame, size)
                _ = view.grey
            yield view

    def _through_network(
        self, placed: Iterable[tuple[FilmFrame, list[PlacedFace]]], start: int
    ) -> Iterator[tuple[FilmFrame, list[FilmFace]]]:
        first = self._first_needed(start)
        needed = (each for each in placed if each[0].index >= first)
        for _, group in groupby(needed, key=lambda each: each[0].index // BLOCK):
            block = list(group)
            with self.restorer.times.stage('align'):
                cropped = [[(face, *self._crop(frame.video, face)) for face in faces] for frame, faces in block]
            results = iter(self.restorer.run_network([crop for each in cropped for _, crop, _, _ in each]))
            for (frame, _), faces in zip(block, cropped, strict=True):
                yield frame, [self._face(frame.index, *face, next(results)) for face in faces]

    def _crop(self, video: Any, placed: PlacedFace) -> tuple[np.ndarray, bool, np.ndarray | None]:
        """Return the aligned face, whether it is black and white, and its finer luma where that is to be steadied."""
        matrix, size = placed.to_crop(self._size), self._size
        finer = self.history.radius and self.settings.detail == 'keep' and scale_of(matrix) < 1
        luma = crop_luma(video, compose(resize_matrix(FINE), matrix), FINE * size) if finer else None
        return (*crop_face(video, matrix, size), luma)

    def _first_needed(self, start: int) -> int:
        """Return the first frame that the frames from ``start`` on depend on, at a block's beginning."""
        back = max(self.history.radius, GUARD_BLOCK if self.guarded else 0)
        return max(0, (start - back) // BLOCK * BLOCK)

    def _face(
        self, index: int, placed: PlacedFace, crop: np.ndarray, grey: bool, luma: np.ndarray | None, after: np.ndarray
    ) -> FilmFace:
        strength = self._strength(index, placed.track, crop, after) if self.guarded else self.settings.strength
        return FilmFace(placed, moment(crop, after, luma), grey, strength * placed.fade)

    def _strength(self, index: int, track: int, crop: np.ndarray, after: np.ndarray) -> float:
        """Return the strength that the identity guard allows; it looks at a track once a block of frames."""
        block = index // GUARD_BLOCK
        known = self._guard.get(track)
        if known is None or known[0] != block:
            with self.restorer.times.stage('identity'):
                least = self.settings.min_identity
                found, score = guard_strength(self.restorer.similarity, crop, after, self.settings.strength, least)
            before = known[2] if known is not None and known[0] == block - 1 else found
            known = self._guard[track] = block, before, found
            old = self.scores.get(track, Score(score, found))
            self.scores[track] = Score(min(old.similarity, score), min(old.strength, found))
        share = min(1.0, (index % GUARD_BLOCK + 1) / GUARD_RAMP)
        return known[1] + share * (known[2] - known[1])

    def _pasted(self, through: Iterable[tuple[FilmFrame, list[FilmFace]]], start: int) -> Iterator[RestoredFrame]:
        """Paste each frame once its neighbours' faces are known."""
        waiting: deque[tuple[FilmFrame, list[FilmFace]]] = deque()
        for frame, faces in through:
            for face in faces:
                self.history.add(face.placed.track, frame.index, face.moment)
            waiting.append((frame, faces))
            if len(waiting) > self.history.radius:
                yield from self._paste(*waiting.popleft(), start)
        while waiting:
            yield from self._paste(*waiting.popleft(), start)

    def _paste(self, frame: FilmFrame, faces: list[FilmFace], start: int) -> Iterator[RestoredFrame]:
        self.history.forget(frame.index - self.history.radius)
        if frame.index < start:
            return
        before = enlarge_planes(frame.video, self.settings.scale)
        changes = [self._change(frame, face, before) for face in faces if face.strength > 0]
        with self.restorer.times.stage('paste'):
            after = paste_changes(before, changes, self.settings.detail == 'keep')
        yield RestoredFrame(frame, before, after, tuple(face.placed.track for face in faces))

    def _change(self, frame: FilmFrame, face: FilmFace, before: Any) -> PlaneChange:
        with self.restorer.times.stage('steady'):
            now, others = self.history.around(face.placed.track, frame.index)
            after, fine = steady_face(now, others, self.film_settings.steady)
            if self.settings.color == 'keep':
                after = keep_colour(now.before, after)
                if all(each.toned for each in (now, *others)):  # a single frame may be taken for colour
                    after = keep_tone(now.before, after)
        enlarge = resize_matrix(before.width / frame.video.width, before.height / frame.video.height)
        matrix = compose(face.placed.to_crop(self._size), invert(enlarge))
        return PlaneChange(matrix, now.before, after, face.strength * self._mask(after), face.grey, fine)

    def _mask(self, after: np.ndarray) -> np.ndarray:
        if getattr(self.restorer.mask, '__name__', '') == 'ellipse_mask':
            return self._ellipse
        return self.restorer.mask(after, template(self._size), resize_matrix(1))
