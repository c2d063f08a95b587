"""Where a restored face replaces the photograph: 1 on the face, falling smoothly to 0 inside the aligned crop.

With ParseNet's weights (facexlib) the mask follows face and hair; without, it is a soft ellipse around the landmarks.
"""

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights, local_file
from mmrbgan_data.alignment import apply

MaskMaker = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

PARSENET_SIZE = 512  # pixels, as it was trained
# ParseNet's classes that belong to the head: skin to hair (1-13) and earrings; not hat, neck and clothes.
HEAD_CLASSES = [*range(1, 14), 15]

# x1, y1, x2, y2 of a face in an aligned crop, in parts of its side; what five points cannot tell.
TYPICAL_FACE = (0.21, 0.19, 0.79, 0.90)
FOREHEAD = 0.35  # above the brows, in parts of the height from brows to chin
FADE = (0.70, 1.20)  # radius where the ellipse's mask leaves 1 and reaches 0
BORDER = 0.06  # of the side: every mask is 0 at the crop's edge and whole this far inside


def ellipse_mask(face: np.ndarray, landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the soft ellipse (s, s) float32 around the landmarks.

    Args:
        face: (s, s, 3), for its size.
        landmarks: (5, 2) or (68, 2) in the photograph.
        matrix: (2, 3), from the photograph to the aligned face.
    """
    size = face.shape[0]
    x1, y1, x2, y2 = _face_box(apply(matrix, landmarks), size)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    radius = np.hypot((2 * x - x1 - x2) / (x2 - x1), (2 * y - y1 - y2) / (y2 - y1))
    result: np.ndarray = _smooth((FADE[1] - radius) / (FADE[1] - FADE[0])) * _border_fade(size)
    return result


def choose_mask(name: str, device: str = 'cpu') -> MaskMaker:
    """Return the mask maker called ``name``: ellipse, parsenet, or auto (ParseNet if its weights are in the cache).

    Raises:
        UsageError: an unknown name, or ParseNet's weights cannot be had.
    """
    if name == 'auto':
        name = 'parsenet' if is_parsenet(name) else 'ellipse'
    if name == 'ellipse':
        return ellipse_mask
    if name == 'parsenet':
        path = find_weights(FILES['parsenet'], None, '--mask', 'take --mask ellipse')
        return functools.partial(parsenet_mask, load_parsenet(path, device))
    raise UsageError(f'--mask {name}: known are auto, ellipse and parsenet')


def is_parsenet(name: str) -> bool:
    """Say whether ``choose_mask`` takes ParseNet for ``name``."""
    here = local_file(FILES['parsenet']) is not None and importlib.util.find_spec('facexlib') is not None
    return name == 'parsenet' or (name == 'auto' and here)


def parsenet_mask(network: Any, face: np.ndarray, landmarks: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return ParseNet's mask (s, s) float32 of face and hair, blurred; arguments as of ``ellipse_mask``."""
    import torch

    size = face.shape[0]
    image = cv2.resize(face, (PARSENET_SIZE, PARSENET_SIZE), interpolation=cv2.INTER_LINEAR)
    device = next(network.parameters()).device
    with torch.inference_mode():
        batch = torch.from_numpy(image).permute(2, 0, 1)[None].to(device) * 2 - 1
        classes = network(batch)[0].argmax(1)[0].cpu().numpy()
    head = np.isin(classes, HEAD_CLASSES).astype(np.float32)
    soft = cv2.GaussianBlur(head, (0, 0), PARSENET_SIZE / 32)
    result: np.ndarray = cv2.resize(soft, (size, size), interpolation=cv2.INTER_AREA) * _border_fade(size)
    return result


def load_parsenet(path: str | Path, device: str = 'cpu') -> Any:
    """Load facexlib's ParseNet.

    Raises:
        UsageError: the file does not hold them.
    """
    import torch
    from facexlib.parsing.parsenet import ParseNet

    from mmrbgan_arch.weights_io import load_into

    with torch.device('meta'):  # no time is lost on weights that the file replaces
        network = ParseNet(in_size=PARSENET_SIZE, out_size=PARSENET_SIZE, parsing_ch=19)
    return load_into(network, path).eval().to(device)


def _face_box(points: np.ndarray, size: int) -> tuple[float, float, float, float]:
    """Return x1, y1, x2, y2 of the face with its forehead, in pixels of the aligned crop."""
    if len(points) == 5:
        x1, y1, x2, y2 = (edge * size for edge in TYPICAL_FACE)
        return x1, y1, x2, y2
    (x1, y1), (x2, y2) = points.min(0), points.max(0)
    return x1, y1 - FOREHEAD * (y2 - y1), x2, y2


def _border_fade(size: int) -> np.ndarray:
    """Return (s, s), 0 at the edges of the crop."""
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]).astype(np.float32)
    ramp = _smooth(distance / (BORDER * size))
    result: np.ndarray = np.minimum(ramp[:, None], ramp[None])
    return result


def _smooth(t: np.ndarray) -> np.ndarray:
    """Return the smoothstep of ``t``: 0 below 0, 1 above 1, without a corner at either end."""
    t = np.clip(t, 0, 1)
    result: np.ndarray = (t * t * (3 - 2 * t)).astype(np.float32)
    return result
