"""LMD: how far the 68 landmarks of the restored face lie from those of its ground truth, in pixels at 512.

The points are dlib's, found by the same predictor in the same box of both pictures: the box that dlib's detector finds
in the ground truth; where it finds none, the box that it would have by CenterFace's five points, or in an aligned face.
"""

import functools
from typing import Any

import numpy as np

from mmrbgan_arch.basicsr_bridge import register_metric
from mmrbgan_data.alignment import alignment_matrix, apply, invert
from mmrbgan_data.components import REFERENCE_SIZE
from mmrbgan_data.detected_face import Detector
from mmrbgan_data.detection import ALIGNED_BOX, DlibDetector, make_detector

from .tensors import from_bgr, same_shape


@register_metric
def calculate_landmark_distance(img: np.ndarray, img2: np.ndarray, **kwargs: Any) -> float:
    """LMD between two BGR uint8 faces (h, w, 3) in pixels at 512; lower is better. ``kwargs`` are BasicSR's own."""
    return float(landmark_distance(from_bgr(img), from_bgr(img2))[0])


def landmark_distance(restored: np.ndarray, gt: np.ndarray | None) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> mean distance (b,) in pixels at 512."""
    gt = same_shape(restored, gt)
    return np.array([_distance(a, b) for a, b in zip(restored, gt, strict=True)])


def face_box(picture: np.ndarray) -> np.ndarray:
    """RGB uint8 (h, w, 3) -> x1 y1 x2 y2 of its largest face, or of where an aligned face lies."""
    box: np.ndarray = np.array(ALIGNED_BOX)
    if faces := DlibDetector(max_side=max(picture.shape[:2]))(picture):
        box = faces[0].box
    elif faces := _default_detector()(picture):
        corners = apply(invert(alignment_matrix(faces[0].landmarks)), box[[0, 1, 2, 1, 0, 3, 2, 3]].reshape(4, 2))
        box = np.concatenate([corners.min(0), corners.max(0)])
    else:
        box = box * (picture.shape[1] / REFERENCE_SIZE)
    return box


@functools.cache
def _default_detector() -> Detector:
    return make_detector('auto')


def landmarks_in(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    """RGB uint8 (h, w, 3) -> its 68 landmarks (68, 2) in ``box``."""
    result: np.ndarray = DlibDetector().landmarks(picture, [float(edge) for edge in box])
    return result


def _distance(restored: np.ndarray, gt: np.ndarray) -> float:
    box = face_box(gt)
    gaps = np.linalg.norm(landmarks_in(restored, box) - landmarks_in(gt, box), axis=1)
    return float(gaps.mean() * REFERENCE_SIZE / gt.shape[1])
