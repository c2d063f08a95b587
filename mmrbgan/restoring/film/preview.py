"""The preview of a film: before and after side by side, upright, small."""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from .planes import upright
from .reading import FilmInfo, import_av, plane_arrays
from .views import view_size

SIDE = 640  # px, the longer side of each half
WHITE = 235
LIMITED = 1  # colour range, by FFmpeg's number


def preview_info(info: FilmInfo) -> FilmInfo:
    """Return what the preview of a film is."""
    width, height = _half(info)
    if info.rotation in (90, 270):
        width, height = height, width
    return dataclasses.replace(
        info,
        size=(2 * width, height),
        codec='h264',
        pixel_format='yuv420p',
        pixel_aspect=Fraction(1),
        rotation=0,
        colours=tuple((name, LIMITED if name == 'color_range' else value) for name, value in info.colours),
    )


def preview_frame(info: FilmInfo, before: Any, after: Any) -> Any:
    """Return a PyAV frame with ``before`` on the left and ``after`` on the right, a white line between."""
    width, height = preview_info(info).size
    frame = import_av().VideoFrame(width, height, 'yuv420p')
    halves = [
        [upright(plane, info.rotation) for plane in plane_arrays(_small(info, video))] for video in (before, after)
    ]
    for number, plane in enumerate(plane_arrays(frame)):
        plane[:] = np.hstack([halves[0][number], halves[1][number]])
        middle = plane.shape[1] // 2
        plane[:, middle - 1 : middle + 1] = 128 if number else WHITE
    for name in ('colorspace', 'color_primaries', 'color_trc'):
        setattr(frame, name, getattr(after, name))
    frame.color_range = LIMITED
    return frame


def _half(info: FilmInfo) -> tuple[int, int]:
    width, height = view_size(info, SIDE)
    return width - width % 2, height - height % 2


def _small(info: FilmInfo, video: Any) -> Any:
    return video.reformat(*_half(info), format='yuv420p', interpolation='AREA', dst_color_range='MPEG')
