"""What the tracker looks at: a frame as players show it, upright, with square pixels, and small."""

import dataclasses
import functools

import cv2
import numpy as np

from .planes import upright, view_matrix
from .reading import FilmFrame, FilmInfo, plane_arrays

VIEW_SIDE = 640  # px, the longer side


@dataclasses.dataclass(eq=False)
class View:
    """A frame and its small upright picture.

    Attributes:
        info: the film.
        frame: the frame.
        size: (width, height) of the picture before it is turned.
    """

    info: FilmInfo
    frame: FilmFrame
    size: tuple[int, int]

    @functools.cached_property
    def grey(self) -> np.ndarray:
        """Luma, uint8 (h, w)."""
        luma = plane_arrays(self.frame.video)[0]
        small = cv2.resize(luma, self.size, interpolation=cv2.INTER_AREA)
        if small.dtype == np.uint16:
            small = (small >> (self.frame.video.format.components[0].bits - 8)).astype(np.uint8)
        return upright(small, self.info.rotation)

    def rgb(self) -> np.ndarray:
        """RGB, uint8 (h, w, 3)."""
        small = self.frame.video.reformat(*self.size, format='rgb24', interpolation='AREA').to_ndarray()
        return upright(small, self.info.rotation)


def view_size(info: FilmInfo, side: int = VIEW_SIDE) -> tuple[int, int]:
    """Return (width, height) of a film's views before they are turned: square pixels, never enlarged."""
    width, height = info.size[0] * float(info.pixel_aspect), float(info.size[1])
    scale = min(1.0, side / max(width, height))
    return max(8, round(width * scale)), max(8, round(height * scale))


def from_view(info: FilmInfo, size: tuple[int, int]) -> np.ndarray:
    """Return the (2, 3) matrix from a view's pixels to the film's stored ones."""
    return view_matrix(info.size, size, info.rotation)
