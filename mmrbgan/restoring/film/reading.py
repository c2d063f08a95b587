"""Reads a film with PyAV: what it is, and its frames one by one, with their timestamps.

Frames keep the film's own pixel format (planes of 8 to 16 bits), so that nothing outside a face is ever converted.
"""

import dataclasses
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import UnreadableImageError

_LOGGER = logging.getLogger(__name__)

PICTURE_FORMATS = ('image2', '_pipe', 'gif', 'ico')  # in the names of FFmpeg's readers of pictures
MOST_RATE = 1000  # frames per second that a film may have
# Packed formats -> the planar one that holds the same numbers.
PLANAR = {
    'nv12': 'yuv420p', 'nv21': 'yuv420p', 'nv16': 'yuv422p', 'nv24': 'yuv444p', 'yuyv422': 'yuv422p',
    'uyvy422': 'yuv422p', 'p010le': 'yuv420p10le', 'p210le': 'yuv422p10le', 'y210le': 'yuv422p10le',
    'rgb24': 'gbrp', 'bgr24': 'gbrp', 'rgba': 'gbrap', 'bgra': 'gbrap', 'argb': 'gbrap', 'abgr': 'gbrap',
    'rgb0': 'gbrp', 'bgr0': 'gbrp', '0rgb': 'gbrp', '0bgr': 'gbrp', 'pal8': 'gbrp', 'monow': 'gray', 'monob': 'gray',
    'yuv410p': 'yuv420p', 'yuv411p': 'yuv444p', 'rgb48le': 'gbrp16le', 'gray16be': 'gray16le',
}  # fmt: skip

COLOURS = ('color_range', 'colorspace', 'color_primaries', 'color_trc')


@dataclasses.dataclass(frozen=True, eq=False)
class FilmInfo:
    """What a film is.

    Attributes:
        path: its file.
        size: (width, height) in stored pixels, before rotation and pixel aspect.
        codec: FFmpeg's name of its video codec.
        pixel_format: FFmpeg's name of its frames'.
        time_base: seconds per tick of the timestamps.
        rate: frames per second, on average.
        frames: how many, as far as the container knows; 0: it does not say.
        pixel_aspect: width of a pixel over its height.
        rotation: degrees, counterclockwise, by which players turn it; a multiple of 90.
        interlaced: it says that its frames are woven from fields.
        colours: range, matrix, primaries and transfer of its first frame, by PyAV's names.
    """

    path: Path
    size: tuple[int, int]
    codec: str
    pixel_format: str
    time_base: Fraction
    rate: Fraction
    frames: int
    pixel_aspect: Fraction
    rotation: int
    interlaced: bool
    colours: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class FilmFrame:
    """A frame: its number from 0, its timestamp in ticks of the film, its duration in ticks (0: unknown), pixels."""

    index: int
    pts: int
    duration: int
    video: Any


def import_av() -> Any:
    """Return PyAV.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UsageError("films need PyAV; `pip install 'mmrbgan[video]'`") from error
    av.logging.set_level(None)  # FFmpeg's own lines; what matters is told in ours
    return av


def open_film(path: Path) -> Any:
    """Open the container of a film.

    Raises:
        UnreadableImageError: no such file, no film, or one without its index.
    """
    av = import_av()
    if not path.is_file():
        raise UnreadableImageError(f'{path}: no such file')
    try:
        container = av.open(str(path), metadata_errors='replace')
    except (av.FFmpegError, OSError, ValueError) as error:
        hint = ''
        if b'ftyp' in path.open('rb').read(64):
            hint = '; an mp4 whose recording was cut off has no index (moov), which untrunc or the camera can rebuild'
        raise UnreadableImageError(f'{path}: not a film that can be read ({_reason(error)}){hint}') from error
    names = container.format.name.split(',')
    if any(name.endswith(PICTURE_FORMATS) for name in names):
        container.close()
        raise UnreadableImageError(f'{path}: a picture ({names[0]}) by the name of a film; rename it')
    if video_stream(container) is None:
        container.close()
        raise UnreadableImageError(f'{path}: no moving picture in it')
    return container


def video_stream(container: Any) -> Any:
    """Return the first stream of moving pictures, or None; a cover is none."""
    av = import_av()
    found = (s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic)
    return next(found, None)


def describe_film(path: Path) -> FilmInfo:
    """Return what the film at ``path`` is; decodes its first frame.

    Raises:
        UnreadableImageError: it cannot be read.
    """
    av = import_av()
    with open_film(path) as container:
        stream = video_stream(container)
        told = {name: getattr(stream.codec_context, name) for name in COLOURS}  # decoding writes over it
        try:
            first = next(container.decode(stream), None)
        except av.FFmpegError as error:
            raise UnreadableImageError(f'{path}: no frame of it can be decoded ({_reason(error)})') from error
        if first is None or stream.time_base is None:
            raise UnreadableImageError(f'{path}: no frame of it can be decoded')
        rates = (stream.average_rate, stream.guessed_rate)  # where the container does not say, FFmpeg may take ticks
        rate = next((each for each in rates if each and each <= MOST_RATE), Fraction(25))
        frames = stream.frames or int((container.duration or 0) / 1_000_000 * rate)
        return FilmInfo(
            path,
            (first.width, first.height),
            stream.codec_context.codec.canonical_name,
            first.format.name,
            stream.time_base,
            rate,
            frames,
            Fraction(stream.sample_aspect_ratio or 1) or Fraction(1),
            round(first.rotation / 90) * 90 % 360,
            bool(first.interlaced_frame),
            tuple((name, _colour(name, getattr(first, name), told[name])) for name in COLOURS),
        )


def _colour(name: str, frame: int | None, container: int | None) -> int:
    """Return what a frame says of its colours or, where it says nothing, what the container does."""
    unknown = 0 if name == 'color_range' else 2
    return next((int(value) for value in (frame, container) if value not in (None, unknown)), unknown)


def read_frames(info: FilmInfo, deinterlace: bool = False) -> Iterator[FilmFrame]:
    """Yield the frames of a film in planar formats, from the first on; damaged packets are skipped and told.

    Args:
        info: the film.
        deinterlace: make whole frames of two fields (bwdif), one per frame.
    """
    with open_film(info.path) as container:
        stream = video_stream(container)
        stream.thread_type = 'AUTO'
        last, index = None, 0
        decoded = _decode(container, stream, info.path)
        for video in _deinterlaced(decoded, stream) if deinterlace else decoded:
            if (video.width, video.height) != info.size:
                raise UnreadableImageError(
                    f'{info.path}: frame {index} is {video.width}x{video.height}, those before '
                    f'{info.size[0]}x{info.size[1]}; cut the film there'
                )
            step = max(1, round(1 / (info.rate * info.time_base)))
            tick = (video.time_base or info.time_base) / info.time_base  # a filter may count in ticks of its own
            pts = round(video.pts * tick) if video.pts is not None else (0 if last is None else last + step)
            pts = pts if last is None else max(pts, last + 1)
            yield FilmFrame(index, pts, round((video.duration or 0) * tick), to_planar(video))
            last, index = pts, index + 1
        if info.frames and index < info.frames * 0.98 - 1:
            _LOGGER.warning(
                '%s: ends after %d of about %d frames; if its picture should be longer, it is truncated',
                info.path,
                index,
                info.frames,
            )


def to_planar(video: Any) -> Any:
    """Return the frame with one plane a colour; packed formats are unpacked without loss, rare ones converted."""
    name = video.format.name
    if name in PLANAR:
        wanted = PLANAR[name]
    elif name.startswith(('yuv4', 'yuvj4', 'yuva4', 'gbrp', 'gbrap', 'gray')) and not name.endswith('be'):
        return video
    else:
        wanted = name.removesuffix('be') + 'le' if name.endswith('be') else 'yuv444p'
    planar = video.reformat(format=wanted)
    if video.time_base is not None:
        planar.pts, planar.time_base = video.pts, video.time_base
    return planar


def plane_arrays(video: Any) -> list[np.ndarray]:
    """Return the planes of a planar frame, each (h, w) uint8 or uint16, as views of its memory."""
    arrays = []
    for component, plane in zip(video.format.components, video.planes, strict=False):
        kind = np.dtype(np.uint8 if component.bits <= 8 else np.uint16)
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        arrays.append(rows[:, : plane.width])
    return arrays


def copy_frame(video: Any) -> Any:
    """Return a frame of its own memory with the same pixels: a decoder still looks at the frames it gave out."""
    av = import_av()
    copy = av.VideoFrame(video.width, video.height, video.format.name)
    for old, new in zip(plane_arrays(video), plane_arrays(copy), strict=True):
        new[:] = old
    copy_properties(video, copy)
    return copy


def copy_properties(old: Any, new: Any) -> None:
    """Give a frame the time and the colours' meaning of another."""
    for name in ('pts', 'time_base', *COLOURS):
        if (value := getattr(old, name)) is not None:
            setattr(new, name, value)


def _decode(container: Any, stream: Any, path: Path) -> Iterator[Any]:
    av = import_av()
    damaged = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            yield from packet.decode()
        except (av.InvalidDataError, av.EOFError):
            damaged += 1
            if damaged > 1000:
                break
    if damaged:
        _LOGGER.warning('%s: %d damaged packets skipped', path, damaged)


def _deinterlaced(frames: Iterator[Any], stream: Any) -> Iterator[Any]:
    av = import_av()
    graph = av.filter.Graph()
    source = graph.add_buffer(template=stream)
    weave = graph.add('bwdif', 'mode=send_frame')
    sink = graph.add('buffersink')
    source.link_to(weave)
    weave.link_to(sink)
    graph.configure()
    for frame in frames:
        graph.push(frame)
        yield from _pulled(graph)
    graph.push(None)
    yield from _pulled(graph)


def _pulled(graph: Any) -> Iterator[Any]:
    av = import_av()
    while True:
        try:
            yield graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def _reason(error: Exception) -> str:
    return getattr(error, 'strerror', None) or str(error)
