"""How far the colour of the skin is off: CIEDE2000 between the mean colours of the middle of the face, by scikit-image.

The middle, cheeks and nose without eyes and mouth, lies in the box that dlib's detector finds in the ground truth, or
where aligned faces have it. Means are compared, so that noise and lost detail do not count as colour.
"""

from typing import Any

import numpy as np
from skimage.color import deltaE_ciede2000, rgb2lab

from mmrbgan_arch.basicsr_bridge import register_metric

from .landmark_distance import face_box
from .tensors import from_bgr, same_shape

MIDDLE = (0.26, 0.33, 0.74, 0.68)  # x1 y1 x2 y2 in shares of the face's box


@register_metric
def calculate_skin_difference(img: np.ndarray, img2: np.ndarray, **kwargs: Any) -> float:
    """CIEDE2000 of the skin of two BGR uint8 faces (h, w, 3); lower is better, 2 is just seen. ``kwargs``: not used."""
    return float(skin_difference(from_bgr(img), from_bgr(img2))[0])


def skin_difference(restored: np.ndarray, gt: np.ndarray | None) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> (b,)."""
    gt = same_shape(restored, gt)
    boxes = [face_box(one) for one in gt]
    ours, theirs = (
        np.stack([_skin(face, box) for face, box in zip(faces, boxes, strict=True)]) for faces in (restored, gt)
    )
    result: np.ndarray = deltaE_ciede2000(ours, theirs)
    return result


def _skin(face: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return the mean L*a*b* (3,) of the middle of a face."""
    corner, side = box[:2], box[2:] - box[:2]
    edges = np.concatenate([corner + side * MIDDLE[:2], corner + side * MIDDLE[2:]])
    x1, y1, x2, y2 = edges.round().astype(int).clip(0, None)
    result: np.ndarray = rgb2lab(face[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]).mean((0, 1))
    return result
