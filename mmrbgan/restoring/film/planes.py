"""Faces out of a frame's planes and back: aligned crops in RGB, and changes added where a face is, nowhere else.

A change of RGB is a linear change of luma and chroma (ITU-R BT.601, 709, 2020), so that what is pasted needs no
conversion of the frame: pixels without a face keep the very numbers that the decoder gave.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmrbgan_data.alignment import compose, invert, resize_matrix, warp

from ..paste import pasted_region
from .reading import copy_frame, copy_properties, import_av, plane_arrays

# FFmpeg's number of a matrix of colours -> weights of red and blue in luma.
LUMA_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 7: (0.212, 0.087), 9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
LUMA_BT601 = (0.299, 0.114)
FULL_RANGE = 2
RGB_MATRIX = 0
HD_HEIGHT = 720  # from here on a film that does not say takes BT.709, as players do
NEUTRAL = 1.5 / 255  # chroma no further than this from grey, everywhere in a face: a black-and-white film


@dataclasses.dataclass(frozen=True)
class Colours:
    """How a frame's planes make colours.

    Attributes:
        kind: yuv, rgb (planes G, B, R) or grey.
        red: weight of red in luma.
        blue: weight of blue in luma.
        black: luma of black, in parts of the largest number.
        luma: from black to white.
        chroma: from the least to the largest chroma.
        largest: number of the planes' type that is 1.
    """

    kind: str
    red: float
    blue: float
    black: float
    luma: float
    chroma: float
    largest: int

    @property
    def weights(self) -> tuple[float, float, float]:
        """Return the weights of red, green and blue in luma."""
        return self.red, 1 - self.red - self.blue, self.blue

    @classmethod
    def of(cls, video: Any) -> 'Colours':
        """Read them from a frame; what it does not say is what players take."""
        name, bits = video.format.name, video.format.components[0].bits
        largest, top = 2**bits - 1, 2 ** (bits - 8)
        unsaid = name.startswith('gray') and video.color_range == 0
        full = video.color_range == FULL_RANGE or name.startswith('yuvj') or unsaid
        if name.startswith(('gbrp', 'gbrap')):
            return cls('rgb', *LUMA_BT601, 0.0, 1.0, 1.0, largest)
        default = LUMA_WEIGHTS[1] if video.height >= HD_HEIGHT else LUMA_BT601
        red, blue = LUMA_WEIGHTS.get(video.colorspace, default if video.colorspace == 2 else LUMA_BT601)
        black, luma, chroma = (0.0, 1.0, 1.0) if full else (n * top / largest for n in (16, 219, 224))
        return cls('grey' if name.startswith('gray') else 'yuv', red, blue, black, luma, chroma, largest)

    def to_rgb(self, planes: Sequence[np.ndarray]) -> np.ndarray:
        """Return RGB (h, w, 3) float32 in [0, 1] of planes (h, w) float32 in parts of the largest number."""
        if self.kind == 'rgb':
            green, blue, red = planes[:3]
            result: np.ndarray = np.clip(np.dstack([red, green, blue]), 0, 1)
            return result
        luma = (planes[0] - self.black) / self.luma
        if self.kind == 'grey':
            return np.clip(np.repeat(luma[:, :, None], 3, 2), 0, 1)
        middle = (self.largest + 1) / 2 / self.largest
        cb, cr = ((plane - middle) / self.chroma for plane in planes[1:3])
        red, blue = luma + 2 * (1 - self.red) * cr, luma + 2 * (1 - self.blue) * cb
        green = (luma - self.red * red - self.blue * blue) / (1 - self.red - self.blue)
        return np.clip(np.dstack([red, green, blue]), 0, 1)

    def changes(self, rgb: np.ndarray) -> list[np.ndarray]:
        """Return the change of each plane (h, w), in parts of the largest number, of a change of RGB (h, w, 3)."""
        red, green, blue = (np.ascontiguousarray(rgb[:, :, channel]) for channel in range(3))
        if self.kind == 'rgb':
            return [green, blue, red]
        luma = self.red * red + (1 - self.red - self.blue) * green + self.blue * blue
        if self.kind == 'grey':
            return [luma * self.luma]
        cb, cr = (blue - luma) / (2 * (1 - self.blue)), (red - luma) / (2 * (1 - self.red))
        return [luma * self.luma, cb * self.chroma, cr * self.chroma]


@dataclasses.dataclass(frozen=True, eq=False)
class PlaneChange:
    """A restored face that waits to be pasted into planes.

    Attributes:
        matrix: (2, 3), from the frame's stored pixels to the crop's.
        before: (s, s, 3) float32 RGB in [0, 1], the aligned crop.
        after: (s, s, 3), the same, restored.
        mask: (s, s) float32 in [0, 1], the strength in it.
        grey: only luma changes.
        fine: (k s, k s) float32, a change of luma finer than ``after``.
    """

    matrix: np.ndarray
    before: np.ndarray
    after: np.ndarray
    mask: np.ndarray
    grey: bool = False
    fine: np.ndarray | None = None


def crop_luma(video: Any, matrix: np.ndarray, size: int) -> np.ndarray:
    """Return the luma of the aligned face (size, size) float32, 0 for black and 1 for white; see ``crop_face``."""
    colours = Colours.of(video)
    if colours.kind == 'rgb':
        return np.asarray(crop_face(video, matrix, size)[0] @ np.array(colours.weights, np.float32))
    moved = warp(plane_arrays(video)[0], matrix, (size, size)).astype(np.float32)
    result: np.ndarray = (moved / colours.largest - colours.black) / colours.luma
    return result


def crop_face(video: Any, matrix: np.ndarray, size: int) -> tuple[np.ndarray, bool]:
    """Return the aligned face (size, size, 3) float32 RGB in [0, 1], and whether it is black and white.

    Args:
        video: a planar frame.
        matrix: (2, 3), from its pixels to the crop's.
        size: side of the crop.
    """
    colours = Colours.of(video)
    planes = []
    for plane, to_luma in _placed(video, colours):
        moved = warp(plane, compose(matrix, to_luma), (size, size))
        planes.append(moved.astype(np.float32) / colours.largest)
    middle = (colours.largest + 1) / 2 / colours.largest
    grey = colours.kind == 'grey' or (
        colours.kind == 'yuv' and all(float(np.abs(plane - middle).max()) <= NEUTRAL for plane in planes[1:3])
    )
    return colours.to_rgb(planes), grey


def paste_changes(video: Any, changes: Sequence[PlaneChange], keep_detail: bool = True) -> Any:
    """Return a frame with the faces in it; ``video`` is never written to, and returned where there is no face.

    Args:
        video: a planar frame.
        changes: the faces; where two overlap, the later lies above.
        keep_detail: add the change; False replaces the pixels, and with them what is finer than the network's.
    """
    if not changes:
        return video
    result, colours = copy_frame(video), Colours.of(video)
    for change in changes:
        content = change.after - change.before if keep_detail else change.after
        parts = colours.changes(content * change.mask[:, :, None]) if keep_detail else colours.changes(content)
        placed = _placed(result, colours)[: 1 if change.grey and colours.kind == 'yuv' else None]
        for number, ((plane, to_luma), coarse) in enumerate(zip(placed, parts, strict=False)):
            to_plane = compose(invert(to_luma), invert(change.matrix))
            if keep_detail:
                part = coarse
                if change.fine is not None and (number == 0 or colours.kind == 'rgb'):
                    part, to_plane = _with_fine(coarse, change, colours.luma, to_plane)
                _add(plane, part, to_plane, colours.largest)
            else:
                _replace(plane, coarse + _origin(colours, number), change.mask, to_plane, colours.largest)
    return result


def _with_fine(
    part: np.ndarray, change: PlaneChange, luma: float, to_plane: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a change with the finer one in it, and the matrix from its pixels to the plane's."""
    assert change.fine is not None
    size = change.fine.shape[::-1]
    part, mask = (cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in (part, change.mask))
    share = change.fine.shape[0] / change.mask.shape[0]
    return part + luma * mask * change.fine, compose(to_plane, invert(resize_matrix(share)))


def enlarge_planes(video: Any, scale: float) -> Any:
    """Return the frame enlarged plane by plane (Lanczos; by area when it shrinks); sides are rounded to even."""
    if scale == 1:
        return video
    size = [max(2, 2 * round(side * scale / 2)) for side in (video.width, video.height)]
    result = import_av().VideoFrame(*size, video.format.name)
    copy_properties(video, result)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
    top = 2 ** video.format.components[0].bits - 1
    for old, new in zip(plane_arrays(video), plane_arrays(result), strict=True):
        new[:] = np.minimum(cv2.resize(old, (new.shape[1], new.shape[0]), interpolation=method), top)
    return result


def _placed(video: Any, colours: Colours) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each plane of colour with the (2, 3) matrix from its samples to those of luma.

    Chroma lies between two lines; along a line on every second luma sample in films of limited range (MPEG-2 and
    since), in the middle between two in those of full range (JPEG).
    """
    planes = plane_arrays(video)[: {'grey': 1}.get(colours.kind, 3)]
    height, width = planes[0].shape
    placed = []
    for plane in planes:
        across, down = (max(1, round(a / b)) for a, b in ((width, plane.shape[1]), (height, plane.shape[0])))
        matrix = resize_matrix(across, down)
        if colours.black > 0:
            matrix[0, 2] = 0
        placed.append((plane, matrix))
    return placed


def _origin(colours: Colours, number: int) -> float:
    """Return the number that stands for no light or no colour, in parts of the largest."""
    if colours.kind == 'rgb':
        return 0.0
    return colours.black if number == 0 else (colours.largest + 1) / 2 / colours.largest


def _add(plane: np.ndarray, part: np.ndarray, to_plane: np.ndarray, largest: int) -> None:
    """Add ``part`` (s, s), which is 0 at its edges, to ``plane`` where ``to_plane`` puts it."""
    region = _region(plane, to_plane, part.shape[0])
    if region is None:
        return
    old, matrix, size = region
    change = warp(largest * part, matrix, size, cv2.BORDER_CONSTANT, cv2.INTER_CUBIC)
    new = cv2.add(old, change, dtype=cv2.CV_8U if plane.dtype == np.uint8 else cv2.CV_16U)  # rounds, and stays in range
    old[:] = new if plane.dtype == np.uint8 else np.minimum(new, largest)


def _replace(plane: np.ndarray, part: np.ndarray, mask: np.ndarray, to_plane: np.ndarray, largest: int) -> None:
    """Blend ``part`` (s, s) over ``plane`` by ``mask`` (s, s)."""
    region = _region(plane, to_plane, part.shape[0])
    if region is None:
        return
    old, matrix, size = region
    share = warp(mask, matrix, size, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR)
    new = largest * warp(part, matrix, size, cv2.BORDER_REPLICATE)
    old[:] = np.clip(np.rint(old + share * (new - old)), 0, largest).astype(plane.dtype)


def _region(
    plane: np.ndarray, to_plane: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, tuple[int, int]] | None:
    """Return the part of ``plane`` that the crop covers, the matrix from the crop into it, and (width, height)."""
    region = pasted_region(to_plane, side, plane.shape)
    if region is None:
        return None
    rows, columns = region
    part = plane[rows, columns]
    shift = np.array([[1.0, 0, -columns.start], [0, 1.0, -rows.start]])
    return part, compose(shift, to_plane), (part.shape[1], part.shape[0])


def view_matrix(size: tuple[int, int], view: tuple[int, int], rotation: int) -> np.ndarray:
    """Return the (2, 3) matrix from an upright view's pixels to a frame's stored ones.

    Args:
        size: (width, height) of the frame as stored.
        view: (width, height) of the view before it is turned upright.
        rotation: degrees, counterclockwise, a multiple of 90, by which it is turned.
    """
    width, height = view
    turned = {
        0: [[1.0, 0, 0], [0, 1, 0]],
        90: [[0.0, -1, width - 1], [1, 0, 0]],
        180: [[-1.0, 0, width - 1], [0, -1, height - 1]],
        270: [[0.0, 1, 0], [-1, 0, height - 1]],
    }[rotation]
    result: np.ndarray = compose(resize_matrix(size[0] / width, size[1] / height), np.array(turned))
    return result


def upright(image: np.ndarray, rotation: int) -> np.ndarray:
    """Return ``image`` turned counterclockwise by ``rotation`` degrees, as players show it."""
    return np.ascontiguousarray(np.rot90(image, rotation // 90))
