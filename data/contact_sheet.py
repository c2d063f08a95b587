"""Contact sheets: a grid of pictures with a line of text above each column."""

from collections.abc import Sequence

import cv2
import numpy as np

GAP, HEADER = 4, 22
MIN_WIDTH = 128  # smaller pictures are shown in whole multiples of their pixels
WHITE, INK = 255, 40


def contact_sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str] = ()) -> np.ndarray:
    """Lay pictures out in a grid.

    Args:
        rows: RGB uint8 (h, w, 3) pictures; smaller ones stand at the top left of their cell.
        titles: one per column, plain ASCII.

    Returns:
        The sheet, RGB uint8.
    """
    zoom = -(-MIN_WIDTH // max(picture.shape[1] for row in rows for picture in row))
    rows = [[picture.repeat(zoom, axis=0).repeat(zoom, axis=1) for picture in row] for row in rows]
    height = max(picture.shape[0] for row in rows for picture in row)
    width = max(picture.shape[1] for row in rows for picture in row)
    columns, top = max(map(len, rows)), HEADER if titles else 0
    shape = (top + len(rows) * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3)
    sheet = np.full(shape, WHITE, np.uint8)
    for column, title in enumerate(titles):
        place = (column * (width + GAP) + 4, HEADER - 7)
        cv2.putText(sheet, title, place, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (INK,) * 3, 1, cv2.LINE_AA)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            y, x = top + i * (height + GAP), j * (width + GAP)
            sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return sheet
