"""Shows on the page which faces were found: a numbered frame around each, and a small picture of each."""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmrbgan_data.images import encode_png

from ..restoring.files.photo_file import to_8_bits

SHOWN_SIDE = 1600  # pixels; more would only make the browser wait
SMALL_SIDE = 88  # pixels of a face beside its tick
COLOUR, INK = (255, 160, 0), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX
Rectangle = tuple[int, int, int, int]  # x1 y1 x2 y2


def mark(pixels: np.ndarray, boxes: Sequence[np.ndarray]) -> np.ndarray:
    """Return (h, w, 3) uint8, scaled down where it is large, with a numbered frame around each face."""
    scale = min(1.0, SHOWN_SIDE / max(pixels.shape[:2]))
    image: np.ndarray = to_8_bits(pixels).copy()
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    side = max(image.shape[:2])
    width, letters = max(1, round(side / 400)), max(0.35, side / 800)
    frames = [_corners(box * scale) for box in boxes]
    for x1, y1, x2, y2 in frames:
        cv2.rectangle(image, (x1, y1), (x2, y2), COLOUR, width)
    sizes = [_text_size(str(number), letters, width) for number in range(1, len(frames) + 1)]
    for number, (x1, y1, x2, y2) in enumerate(place_tags(frames, sizes, image.shape[1], image.shape[0]), 1):
        cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), COLOUR, cv2.FILLED)
        cv2.putText(image, str(number), (x1 + width, y2 - 2 * width), FONT, letters, INK, width, cv2.LINE_AA)
    return image


def place_tags(
    frames: Sequence[Rectangle], sizes: Sequence[tuple[int, int]], width: int, height: int
) -> list[Rectangle]:
    """Return where the numbers go: inside the picture, at a corner of their frame, and not over each other.

    Args:
        frames: around the faces.
        sizes: (width, height) of each number.
        width: of the picture.
        height: of the picture.
    """
    placed: list[Rectangle] = []
    for (x1, y1, x2, y2), (across, down) in zip(frames, sizes, strict=True):
        corners = [(x, y) for y in (y1 - down, y2, y1, y2 - down) for x in (x1, x2 - across, x1 - across, x2)]
        inside = [(min(max(x, 0), width - across), min(max(y, 0), height - down)) for x, y in corners]
        tags = [(x, y, x + across, y + down) for x, y in inside]
        placed.append(min(tags, key=lambda tag: sum(_overlap(tag, other) for other in placed)))
    return placed


def small_pictures(pixels: np.ndarray, boxes: Sequence[np.ndarray], where: str) -> str:
    """Return a style sheet by which the ticks of the group ``where``, a CSS selector, show their faces."""
    rules = []
    for number, box in enumerate(boxes, 1):
        picture = f'url(data:image/png;base64,{_thumbnail(pixels, box)})'
        rules.append(f'{where} label:nth-child({number})::before {{background-image: {picture}}}')
    return f'<style>{" ".join(rules)}</style>'


def _thumbnail(pixels: np.ndarray, box: np.ndarray) -> str:
    """Return the square around a face, as far as the picture reaches, as base64 of a PNG."""
    half, centre = 0.65 * float(max(box[2:] - box[:2])), (box[:2] + box[2:]) / 2
    x1, y1, x2, y2 = _corners(np.concatenate([centre - half, centre + half]))
    crop = to_8_bits(pixels[max(0, y1) : max(1, y2), max(0, x1) : max(1, x2)])
    small = cv2.resize(crop, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA) if crop.size else None
    return '' if small is None else base64.b64encode(encode_png(small)).decode()


def _corners(box: np.ndarray) -> Rectangle:
    x1, y1, x2, y2 = (round(float(edge)) for edge in box)
    return x1, y1, x2, y2


def _text_size(text: str, letters: float, width: int) -> tuple[int, int]:
    (across, down), below = cv2.getTextSize(text, FONT, letters, width)
    return across + 2 * width, down + below


def _overlap(one: Rectangle, other: Rectangle) -> int:
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    return max(0, across) * max(0, down)


def numbered(faces: Sequence[Any]) -> list[str]:
    """Return what stands beside each tick."""
    return [f'{number} ({face.box[2] - face.box[0]:.0f} px)' for number, face in enumerate(faces, 1)]
