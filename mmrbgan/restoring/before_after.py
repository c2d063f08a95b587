"""The before/after sheet: the photograph and each of its faces, as they came and as they left."""

import cv2
import numpy as np
from PIL import Image, ImageDraw

from .files.photo_file import to_8_bits
from .results import Face, RestoredPhoto

PHOTO_SIDE, FACE_SIDE, PAIRS_PER_ROW, MOST_FACES, GAP, TITLE = 640, 192, 3, 24, 8, 20


def before_after_sheet(result: RestoredPhoto) -> np.ndarray:
    """Return the sheet (h, w, 3) RGB uint8; at most 24 faces."""
    photos = [_fit(to_8_bits(picture.pixels), PHOTO_SIDE) for picture in (result.before, result.picture)]
    rows = [_titled(np.hstack([photos[0], _gap(photos[0].shape[0]), photos[1]]), 'before | after')]
    pairs = [_pair(face, number) for number, face in enumerate(result.restored_faces[:MOST_FACES], 1)]
    rows += [np.hstack(pairs[start : start + PAIRS_PER_ROW]) for start in range(0, len(pairs), PAIRS_PER_ROW)]
    width = max(row.shape[1] for row in rows)
    return np.vstack([_widen(row, width) for row in rows])


def _pair(face: Face, number: int) -> np.ndarray:
    assert face.crop is not None and face.restored is not None
    sides = [
        cv2.resize(side, (FACE_SIDE, FACE_SIDE), interpolation=cv2.INTER_AREA) for side in (face.crop, face.restored)
    ]
    score = '' if face.similarity is None else f', similarity {face.similarity:.2f}'
    title = f'face {number}: strength {face.strength:.2f}{score}'
    return _titled(np.hstack([*sides, _gap(FACE_SIDE)]), title)


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    scale = min(1.0, side / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _gap(height: int) -> np.ndarray:
    return np.full((height, GAP, 3), 255, np.uint8)


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    bar = Image.new('RGB', (image.shape[1], TITLE), 'white')
    ImageDraw.Draw(bar).text((2, 4), title, fill='black')
    return np.vstack([np.asarray(bar), image])


def _widen(row: np.ndarray, width: int) -> np.ndarray:
    return np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
