"""Scores a restored film against the one it came from, and against the true one: flicker, PSNR, motion of landmarks.

Flicker is measured along each face's track, in the aligned face, where what moves with the head stands still: the mean
change of the high band (luma less its Gaussian blur) from frame to frame, in levels of 255. A restored film should
flicker no more than its input, and as little as the true film.
"""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrbgan_arch.support.atomic_files import write_text, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import compose, invert, resize_matrix, scale_of, template
from mmrbgan_data.detected_face import Detector
from mmrbgan_data.detection import DlibDetector

from ..restoring.film.planes import crop_face
from ..restoring.film.reading import FilmFrame, describe_film, read_frames
from ..restoring.film.smoothing import PlacedFace, Smoother, Wanted
from ..restoring.film.tracking import Tracker, track_all
from ..restoring.film.views import View, view_size
from ..restoring.masks import TYPICAL_FACE, ellipse_mask

SIDE = 256  # px of the aligned face
BAND = 4.0  # px there: what is finer is the high band
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclasses.dataclass(frozen=True)
class FilmScores:
    """Means over all faces of a film.

    Attributes:
        pairs: pairs of neighbouring frames that were compared.
        flicker: film (restored, input, true) -> mean change of the high band, in levels of 255.
        psnr: film (restored, input) -> dB of the faces against the true film.
        motion: film (restored, true) -> px, root mean square difference of its landmarks' motion from the input's.
        worst: frame numbers of the restored film that changed most against its input, the worst first.
    """

    pairs: int
    flicker: dict[str, float]
    psnr: dict[str, float]
    motion: dict[str, float]
    worst: list[int]

    def lines(self) -> list[str]:
        """Return the scores as lines of text."""
        found = [f'{self.pairs} pairs of frames; flicker in levels of 255']
        found += [f'  flicker, {name:14} {value:.3f}' for name, value in self.flicker.items()]
        if self.flicker.get('input'):
            found.append(f'  restored / input       {self.flicker["restored"] / self.flicker["input"]:.3f}')
        found += [f'  PSNR, {name:17} {value:.2f} dB' for name, value in self.psnr.items()]
        found += [f'  motion, {name:15} {value:.3f} px from the input' for name, value in self.motion.items()]
        return [*found, f'  most flicker in frames {", ".join(map(str, self.worst))}']


def run(restored: str, lq: str | None, gt: str | None, detector: Detector, out: str) -> list[str]:
    """Score a film, write the record ``out``, return what to say.

    Raises:
        UsageError: no input film is named.
        UnreadableImageError: a film cannot be read.
    """
    if lq is None:
        raise UsageError('--video compares with the film that was restored; name it with --lq')
    scores = score_film(Path(restored), Path(lq), None if gt is None else Path(gt), detector)
    with writing(out, 'name another file with --out'):
        write_text(out, json.dumps({'film': restored, 'lq': lq, 'gt': gt, **dataclasses.asdict(scores)}, indent=1))
    return [f'{restored}: {scores.lines()[0]}', *scores.lines()[1:], f'Record: {out}']


def score_film(restored: Path, lq: Path, gt: Path | None, detector: Detector, *, landmarks: bool = True) -> FilmScores:
    """Compare films frame by frame.

    Args:
        restored: the film to score.
        lq: what it was made from; its faces are followed.
        gt: the true film, whose faces are followed instead.
        detector: finds faces in RGB uint8 (h, w, 3).
        landmarks: measure motion too (dlib's 68 points).

    Raises:
        UsageError: the films differ in length, or no face is in them.
    """
    tally = _Tally(landmarks)
    paths = {'restored': restored, 'input': lq} | ({} if gt is None else {'true': gt})
    for frames, faces in _in_step(paths, 'input' if gt is None else 'true', detector):
        tally.add(frames, faces)
    return tally.scores()


def _in_step(
    paths: dict[str, Path], followed: str, detector: Detector
) -> Iterator[tuple[dict[str, FilmFrame], list[PlacedFace]]]:
    """Yield each frame of all films, and the faces of the one that is followed, in its pixels."""
    info = describe_film(paths[followed])
    others = {name: read_frames(describe_film(path)) for name, path in paths.items() if name != followed}
    views = (View(info, frame, view_size(info)) for frame in read_frames(info))
    for frame, faces in Smoother(Wanted()).run(track_all(views, Tracker(detector))):
        frames = {followed: frame}
        for name, reader in others.items():
            other = next(reader, None)
            if other is None:
                raise UsageError(f'{paths[name]}: has fewer frames than {paths[followed]}')
            frames[name] = other
        yield frames, faces


class _Tally:
    """Sums over the frames of a film."""

    def __init__(self, landmarks: bool) -> None:
        self.mask = ellipse_mask(np.zeros((SIDE, SIDE, 3), np.float32), template(SIDE), resize_matrix(1))
        self.landmarks = DlibDetector().landmarks if landmarks else None
        self.changes: dict[str, list[float]] = {}
        self.errors: dict[str, list[float]] = {}
        self.moves: dict[str, list[float]] = {}
        self.by_frame: dict[int, float] = {}
        self._before: dict[int, tuple[int, dict[str, np.ndarray], dict[str, np.ndarray]]] = {}

    def add(self, frames: dict[str, FilmFrame], faces: list[PlacedFace]) -> None:
        """Take the next frame of all films."""
        base = frames['true' if 'true' in frames else 'input']
        for face in faces:
            crops = {name: _crop(frame, base, face) for name, frame in frames.items()}
            bands = {name: _high_band(crop) for name, crop in crops.items()}
            scale = scale_of(face.to_crop(SIDE))
            points = {name: self._points(crop) / scale for name, crop in crops.items() if self.landmarks}
            index, old_bands, old_points = self._before.get(face.track, (-2, {}, {}))
            if index == base.index - 1:
                self._compare(base.index, bands, old_bands)
                self._compare_motion(points, old_points)
            if 'true' in crops:
                for name in ('restored', 'input'):
                    self.errors.setdefault(name, []).append(self._mean(np.square(crops[name] - crops['true']).mean(2)))
            self._before[face.track] = base.index, bands, points

    def scores(self) -> FilmScores:
        """Return the means."""
        if not self.changes:
            raise UsageError('no face is followed in these films; nothing to score')
        worst = sorted(self.by_frame, key=lambda index: -self.by_frame[index])[:5]
        return FilmScores(
            len(self.changes['restored']),
            {name: float(np.mean(values)) for name, values in self.changes.items()},
            {name: float(-10 * np.log10(max(float(np.mean(values)), 1e-12))) for name, values in self.errors.items()},
            {name: float(np.sqrt(np.mean(values))) for name, values in self.moves.items()},
            worst,
        )

    def _compare(self, index: int, bands: dict[str, np.ndarray], old: dict[str, np.ndarray]) -> None:
        for name, band in bands.items():
            self.changes.setdefault(name, []).append(255 * self._mean(np.abs(band - old[name])))
        excess = self.changes['restored'][-1] - self.changes['input'][-1]
        self.by_frame[index] = max(excess, self.by_frame.get(index, -np.inf))

    def _compare_motion(self, points: dict[str, np.ndarray], old: dict[str, np.ndarray]) -> None:
        moves = {name: now - old[name] for name, now in points.items()}
        for name in moves.keys() - {'input'}:
            difference = np.square(moves[name] - moves['input']).sum(1).mean()
            self.moves.setdefault(name, []).append(float(difference))

    def _points(self, crop: np.ndarray) -> np.ndarray:
        assert self.landmarks is not None
        box = [edge * SIDE for edge in TYPICAL_FACE]
        result: np.ndarray = self.landmarks(np.rint(crop * 255).astype(np.uint8), box)
        return result

    def _mean(self, values: np.ndarray) -> float:
        return float((values * self.mask).sum() / self.mask.sum())


def _crop(frame: FilmFrame, base: FilmFrame, face: PlacedFace) -> np.ndarray:
    """Return the aligned face (256, 256, 3) float32 RGB of a frame that may be an enlargement of ``base``."""
    enlarge: Any = resize_matrix(frame.video.width / base.video.width, frame.video.height / base.video.height)
    return crop_face(frame.video, compose(face.to_crop(SIDE), invert(enlarge)), SIDE)[0]


def _high_band(crop: np.ndarray) -> np.ndarray:
    luma: np.ndarray = crop @ LUMA
    return luma - cv2.GaussianBlur(luma, (0, 0), BAND)
