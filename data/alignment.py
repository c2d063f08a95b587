"""Aligns faces to the FFHQ template and back: five points, a similarity transform, exact warps.

Matches facexlib's five-point template at 512 px. Coordinates count from the middle of the top left pixel, as
detectors, ``cv2.warpAffine`` and ``mmrbgan_data.components`` have it: pixel ``i`` covers ``[i - 0.5, i + 0.5]``. A
resize by ``s`` therefore takes ``p`` to ``(p + 0.5) * s - 0.5``; whoever forgets the halves (facexlib's own helper, for
every scale above 1) pastes faces half a pixel off.
"""

import cv2
import numpy as np

from .components import REFERENCE_SIZE, to_68

# Eye centres, nose tip and mouth corners, the image's left side first, in an aligned face of 512 px.
TEMPLATE_512 = np.array(
    [
        [192.98138, 239.94708],
        [318.90277, 240.19360],
        [256.63416, 314.01935],
        [201.26117, 371.41043],
        [313.08905, 371.15118],
    ]
)
COMPLEX = np.array([1, 1j])
FINE_ENOUGH = 1.5  # largest enlargement that cv2.warpAffine may do itself
REFLECTIONS = 4  # OpenCV reflects step by step; a face almost outside its photograph would take minutes
LEFT_EYE, RIGHT_EYE, NOSE_TIP, MOUTH_CORNERS = slice(36, 42), slice(42, 48), 30, (48, 54)  # of iBUG's 68 points


def template(size: int) -> np.ndarray:
    """Return the five points (5, 2) in an aligned face of ``size`` pixels."""
    return apply(resize_matrix(size / REFERENCE_SIZE), TEMPLATE_512)


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Return eye centres, nose tip and mouth corners (5, 2) of (5, 2), (49, 2) or (68, 2) landmarks."""
    if len(landmarks) == 5:
        return np.asarray(landmarks)
    points = to_68(np.asarray(landmarks))
    eyes = [points[LEFT_EYE].mean(0), points[RIGHT_EYE].mean(0)]
    return np.stack([*eyes, points[NOSE_TIP], *points[list(MOUTH_CORNERS)]])


def alignment_matrix(landmarks: np.ndarray, size: int = REFERENCE_SIZE) -> np.ndarray:
    """Return the (2, 3) matrix from a photograph's pixels to an aligned face of ``size`` pixels.

    Args:
        landmarks: (5, 2), (49, 2) or (68, 2) in the photograph's pixels.
        size: side of the aligned face.

    Raises:
        ValueError: all points fall together.
    """
    return similarity(five_points(landmarks), template(size))


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the (2, 3) similarity (scale, rotation, shift) that takes ``source`` to ``target`` with least squares.

    Args:
        source: (n, 2) points.
        target: (n, 2) points.

    Raises:
        ValueError: all source points fall together.
    """
    middle = source.mean(0)
    spread = (source - middle) @ COMPLEX
    weight = np.square(np.abs(spread)).sum()
    if weight < 1e-9:
        raise ValueError('the landmarks fall together; no alignment')
    turn = spread.conj() @ ((target - target.mean(0)) @ COMPLEX) / weight  # scale and rotation are one complex factor
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target.mean(0) - linear @ middle])


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return ``points`` (n, 2) moved by ``matrix`` (2, 3)."""
    result: np.ndarray = points @ matrix[:, :2].T + matrix[:, 2]
    return result


def compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix that does ``first``, then ``second``."""
    return np.column_stack([second[:, :2] @ first[:, :2], second[:, :2] @ first[:, 2] + second[:, 2]])


def invert(matrix: np.ndarray) -> np.ndarray:
    """Return the (2, 3) matrix that undoes ``matrix``."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def resize_matrix(scale_x: float, scale_y: float | None = None) -> np.ndarray:
    """Return the (2, 3) matrix of a resize, whose fixed point is the image's corner and not a pixel's middle."""
    scale_y = scale_x if scale_y is None else scale_y
    return np.array([[scale_x, 0, (scale_x - 1) / 2], [0, scale_y, (scale_y - 1) / 2]])


def scale_of(matrix: np.ndarray) -> float:
    """Return how much ``matrix`` (2, 3) enlarges."""
    return float(abs(np.linalg.det(matrix[:, :2])) ** 0.5)


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    size: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
    interpolation: int = cv2.INTER_LANCZOS4,
) -> np.ndarray:
    """Return ``image`` moved by ``matrix``, without aliasing when it shrinks.

    Only the part of the image that is seen is touched, so a face costs the same in a small and in a large photograph.

    Args:
        image: (h, w) or (h, w, c), uint8, uint16 or float32.
        matrix: (2, 3), from pixels of ``image`` to pixels of the result.
        size: (width, height) of the result.
        border: OpenCV's name for what lies beyond the image's edge.
        interpolation: OpenCV's name for the interpolation; its bicubic kernel does not keep a ramp straight and so
            moves edges by up to 0.04 px, Lanczos does.
    """
    part, matrix = _visible_part(image, matrix, size)
    part, matrix = _rescale(part, matrix)
    if border == cv2.BORDER_REFLECT_101 and min(part.shape[:2]) * REFLECTIONS < max(size):
        border = cv2.BORDER_REPLICATE
    return cv2.warpAffine(part, matrix, size, flags=interpolation, borderMode=border)


def _visible_part(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cut the part of ``image`` that the result shows, with a margin for interpolation and reflection."""
    width, height = size
    corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], float)
    seen = apply(invert(matrix), corners)
    margin = 8 + 4 / scale_of(matrix)
    limit = np.array([image.shape[1], image.shape[0]])
    low = np.clip(np.floor(seen.min(0) - margin), 0, limit - 1).astype(int)
    high = np.clip(np.ceil(seen.max(0) + margin), low + 1, limit).astype(int)
    part = image[low[1] : high[1], low[0] : high[0]]
    return part, compose(matrix, np.array([[1.0, 0, low[0]], [0, 1.0, low[1]]]))


def _rescale(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring ``image`` to about the result's scale, so that little more than a rotation is left for ``matrix``.

    Shrinking averages. Enlarging first keeps OpenCV exact: its warp rounds to 1/32 of a *source* pixel.
    """
    scale = scale_of(matrix)
    if 1 <= scale <= FINE_ENOUGH:
        return image, matrix
    height, width = image.shape[:2]
    near = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(image, near, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4)
    return scaled, compose(matrix, resize_matrix(width / near[0], height / near[1]))
