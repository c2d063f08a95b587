"""One photograph into aligned faces: find, align, judge, encode; every refusal has a reason.

What runs here is a pure function of the photograph and the settings, so that any number of processes gives the same.
"""

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..alignment import alignment_matrix, apply, five_points, invert, resize_matrix, scale_of, warp
from ..components import circles_from_landmarks
from ..detected_face import Detector
from ..detection import DlibDetector, make_detector
from ..images import UnreadableImageError, encode_png, read_image

MAX_OUTSIDE = 0.35  # share of a crop that may lie beyond the photograph's edge
MAX_DISAGREEMENT = 0.15  # of dlib's five points from the detector's, in eye distances
HASH_SIDE = 16  # comparisons per row and column of a fingerprint
FARTHEST = 1e6  # pixels


@dataclasses.dataclass(frozen=True)
class CropSettings:
    """How faces are cut out; part of what a dataset remembers.

    Attributes:
        size: side of the crops in pixels.
        min_face: least side in photograph pixels of the square that becomes a crop.
        min_sharpness: least variance of the Laplacian of the face.
        detector: a key of ``detection.DETECTORS``.
        detector_weights: the detector's file; None: the package's, the cache, or the authors' address.
        aligned: the photographs are aligned faces already and are only scaled.
    """

    size: int = 512
    min_face: float = 128
    min_sharpness: float = 10
    detector: str = 'centerface'
    detector_weights: str | None = None
    aligned: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Crop:
    """An aligned face.

    Attributes:
        content: PNG file.
        landmarks: (68, 2), (49, 2) or (5, 2) in pixels of the crop.
        source_side: side in photograph pixels of the square that became the crop.
        sharpness: variance of the Laplacian.
        fingerprint: (32,) uint8, 256 bits that near duplicates share.
    """

    content: bytes
    landmarks: np.ndarray
    source_side: float
    sharpness: float
    fingerprint: np.ndarray


@dataclasses.dataclass(frozen=True)
class Skip:
    """Why a face, or a whole photograph, was left out: one word for counting, and a detail."""

    reason: str
    detail: str


def crop_photograph(
    path: Path, settings: CropSettings, landmarks: Sequence[np.ndarray] | None = None, landmarks_side: int | None = None
) -> list[Crop | Skip]:
    """Return every face of the photograph at ``path`` as a crop or the reason why not, the largest first.

    Args:
        path: of the photograph.
        settings: how.
        landmarks: ready ones, one array per face; None: find the faces.
        landmarks_side: side of the picture they were made for, where it may differ from the photograph's.
    """
    cv2.setNumThreads(1)
    try:
        photograph = read_image(path)
        faces = find_landmarks(photograph, settings) if landmarks is None else landmarks
        if landmarks_side:
            to_photograph = resize_matrix(max(photograph.shape[:2]) / landmarks_side)
            faces = [apply(to_photograph, points) for points in faces]
    except UnreadableImageError as error:
        return [Skip('unreadable', str(error).removeprefix(f'{path}: '))]
    except (RuntimeError, cv2.error) as error:  # dlib and OpenCV on odd shapes
        return [Skip('unreadable', f'the detector failed ({" ".join(str(error).split())})')]
    if not faces:
        return [Skip('no face', 'none was found')]
    return [crop_face(photograph, points, settings) for points in faces]


def crop_face(photograph: np.ndarray, landmarks: np.ndarray, settings: CropSettings) -> Crop | Skip:
    """Return one face of RGB uint8 (h, w, 3), given its landmarks (68, 49 or 5, 2), as a crop or why not."""
    if settings.aligned and photograph.shape[0] != photograph.shape[1]:
        return Skip('not square', f'{photograph.shape[1]}x{photograph.shape[0]}, but aligned faces were announced')
    if not np.all(np.abs(landmarks) < FARTHEST):  # nor NaN
        return Skip('no landmarks', 'they lie nowhere near the photograph')
    matrix = _matrix(photograph, landmarks, settings)
    if matrix is None:
        return Skip('no landmarks', 'they fall together')
    side = settings.size / scale_of(matrix)
    if side < settings.min_face:
        return Skip('too small', f'{side:.0f} px wide, less than {settings.min_face:.0f}')
    outside = share_outside(matrix, settings.size, photograph.shape[1], photograph.shape[0])
    if outside > MAX_OUTSIDE:
        return Skip('cut off', f'{100 * outside:.0f} % of it lies beyond the edge of the photograph')
    face = warp(photograph, matrix, (settings.size, settings.size))
    if (sharp := sharpness(face)) < settings.min_sharpness:
        return Skip('blurred', f'sharpness {sharp:.1f}, less than {settings.min_sharpness:g}')
    return Crop(encode_png(face), apply(matrix, landmarks), side, sharp, fingerprint(face))


def circles_of(landmarks: np.ndarray, size: int) -> np.ndarray:
    """Return components (k, 3) of an aligned face; those whose centre left the crop are NaN."""
    circles = circles_from_landmarks(landmarks, size)
    outside = np.any((circles[:, :2] < 0) | (circles[:, :2] > size), axis=1)
    return np.where(np.expand_dims(outside, 1), np.float32(np.nan), circles)


def sharpness(face: np.ndarray) -> float:
    """Return the variance of the Laplacian over the middle of an aligned face, RGB uint8 (s, s, 3).

    At 512 px: 25 and more for 95 of 100 good photographs, below 7 once they are blurred by a Gaussian of 2 px.
    """
    size = face.shape[0]
    middle = face[size // 4 : size * 15 // 16, size // 5 : size * 4 // 5]
    return float(cv2.Laplacian(cv2.cvtColor(middle, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var())


def fingerprint(face: np.ndarray) -> np.ndarray:
    """Return 256 bits (32,) uint8 of an aligned face: where brightness rises from left to right in a 16 x 16 grid."""
    grey = cv2.resize(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), (HASH_SIDE + 1, HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.packbits(grey[:, 1:] > grey[:, :-1])


def share_outside(matrix: np.ndarray, size: int, width: int, height: int) -> float:
    """Return the share of the crop that the photograph of width x height does not cover."""
    steps = np.linspace(0, size - 1, 24)
    x, y = apply(invert(matrix), np.stack(np.meshgrid(steps, steps), 2).reshape(-1, 2)).T
    return float(np.mean((x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)))


def _matrix(photograph: np.ndarray, landmarks: np.ndarray, settings: CropSettings) -> np.ndarray | None:
    """Return the (2, 3) matrix from photograph to crop, None if the landmarks are degenerate."""
    if settings.aligned:
        return resize_matrix(settings.size / max(photograph.shape[:2]))
    try:
        return alignment_matrix(landmarks, settings.size)
    except ValueError:
        return None


def find_landmarks(photograph: np.ndarray, settings: CropSettings) -> Sequence[np.ndarray]:
    """Return the landmarks of every face, the largest first."""
    faces = load_detector(settings.detector, settings.detector_weights)(photograph)
    return [_refine(photograph, face.landmarks) for face in faces]


def _refine(photograph: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """Return dlib's 68 points where the detector's five agree with them, else the five.

    dlib's predictor was trained on frontal faces and is not to be trusted on a face in profile.
    """
    if len(landmarks) == 68:
        return landmarks
    points = DlibDetector().aligned_landmarks(photograph, landmarks)
    distance = np.linalg.norm(five_points(points) - landmarks, axis=1).mean()
    eyes = np.linalg.norm(landmarks[1] - landmarks[0]) + np.linalg.norm(landmarks[:2].mean(0) - landmarks[3:].mean(0))
    return points if distance < MAX_DISAGREEMENT * eyes / 2 else landmarks


@functools.cache
def load_detector(name: str, weights: str | None) -> Detector:
    """Return the detector, one per process.

    Raises:
        UsageError: its weights or its package are missing.
    """
    return make_detector(name, weights)
