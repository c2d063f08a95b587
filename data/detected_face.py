"""A face in a photograph as detectors return it, moved between pictures, and doubles of one face merged."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .alignment import apply, five_points

SAME_FACE = 0.5  # of the smaller box: more overlap than this is one face found twice


@dataclasses.dataclass(frozen=True, eq=False)
class DetectedFace:
    """A face in a photograph, in its pixels.

    Attributes:
        box: (4,) x1 y1 x2 y2; may reach beyond the photograph.
        score: the detector's own; dlib's starts at 0, RetinaFace's and CenterFace's lie in [0, 1].
        landmarks: (68, 2) in iBUG's order or (5, 2) eye centres, nose tip, mouth corners; the image's left first in an
            upright face.
        certain: False for what the detector would list, but not take for a face without being told.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray
    certain: bool = True

    @property
    def side(self) -> float:
        """The longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))

    def moved(self, matrix: np.ndarray) -> 'DetectedFace':
        """Return the face where ``matrix`` (2, 3) takes it; the box is that of the ellipse in the box, moved."""
        middle = apply(matrix, self.box.reshape(2, 2)).mean(0)
        half = np.linalg.norm(matrix[:, :2] * (self.box[2:] - self.box[:2]) / 2, axis=1)
        return dataclasses.replace(
            self, box=np.concatenate([middle - half, middle + half]), landmarks=apply(matrix, self.landmarks)
        )


Detector = Callable[[np.ndarray], list[DetectedFace]]
"""From RGB uint8 (h, w, 3) to its faces, the largest first."""


def distinct(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Drop the weaker of two detections of one face; return the largest first."""
    return sorted(without_doubles(sorted(faces, key=lambda face: -face.score)), key=lambda face: -face.side)


def without_doubles(faces: Sequence[DetectedFace]) -> list[DetectedFace]:
    """Keep the first of several finds of one face."""
    boxes = np.array([face.box for face in faces]).reshape(-1, 4)
    kept: list[int] = []
    for place, box in enumerate(boxes):
        if not np.any(overlap(box, boxes[kept]) >= SAME_FACE):
            kept.append(place)
    return [faces[place] for place in kept]


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the intersection of a box (4,) with others (n, 4) as a share (n,) of the smaller one."""
    common = np.clip(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0, None).prod(1)
    smaller = np.minimum((box[2:] - box[:2]).prod(), (others[:, 2:] - others[:, :2]).prod(1))
    shares: np.ndarray = common / np.maximum(smaller, 1e-9)
    return shares


def roll_of(landmarks: np.ndarray) -> float:
    """Return by how many degrees a face is turned clockwise in its photograph, in (-180, 180]; 0 is upright.

    Args:
        landmarks: (5, 2), (49, 2) or (68, 2).
    """
    left, right, _, *mouth = five_points(landmarks)
    down = np.mean(mouth, axis=0) - (left + right) / 2
    along = right - left + np.array([down[1], -down[0]])  # the eye line, and the line across eyes and mouth
    return float(np.degrees(np.arctan2(along[1], along[0])))
