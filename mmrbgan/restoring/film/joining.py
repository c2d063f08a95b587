"""Joins segments and all else of a film (sound, subtitles, chapters, metadata) into one file; nothing is encoded."""

import contextlib
import dataclasses
import heapq
import itertools
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError

from .encoding import is_disk_error
from .reading import FilmInfo, import_av, open_film, video_stream

_LOGGER = logging.getLogger(__name__)
MOST_REORDER = 16  # frames that a codec may hold back
OPTIONS = {'.mp4': {'movflags': '+faststart'}, '.m4v': {'movflags': '+faststart'}, '.mov': {'movflags': '+faststart'}}


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """What a joined film lacks of the one it came from, each in words for a line."""

    left_out: tuple[str, ...]


def join_film(
    info: FilmInfo,
    segments: Sequence[Path],
    output: Path,
    end: Fraction | None = None,
    note: Callable[[Path, int], None] = lambda path, size: None,
) -> Joined:
    """Write the film: the segments' pictures, and everything else of ``info.path`` as it is.

    Args:
        info: the film that was restored.
        segments: its encoded parts, in order.
        output: the file; its suffix names the container.
        end: seconds after which sound and the rest are cut, for a film that was interrupted.
        note: is told ``output`` and its size before that is written.

    Raises:
        UsageError: the container takes not even the picture.
    """
    av = import_av()
    part = segments[0].with_name(f'joined{output.suffix}')  # what a kill leaves there, the next run clears away
    try:
        with open_film(info.path) as source, av.open(str(part), 'w', options=OPTIONS.get(output.suffix, {})) as target:
            picture = _add_picture(target, segments[0], info)
            others, left_out = _add_others(target, source, output)
            target.metadata.update(_kept_metadata(source.metadata))
            _copy_chapters(source, target)
            with contextlib.ExitStack() as files:
                last = 0 if end is not None else _last_duration(info)
                pictures = _picture_packets(segments, picture, info, last, files)
                for packet in _merged(pictures, _other_packets(source, others, end)):
                    target.mux_one(packet)
        if _pixel_aspect(part) != info.pixel_aspect:
            left_out.append(f'the shape of its pixels ({info.pixel_aspect}), which this codec in {output.suffix} loses')
        note(output, part.stat().st_size)
        os.replace(part, output)
        return Joined(tuple(left_out))
    except (av.FFmpegError, ValueError) as error:
        if is_disk_error(error):
            raise
        raise UsageError(f'{output}: cannot be written ({error}); name another kind of file, such as .mkv') from error
    finally:
        part.unlink(missing_ok=True)


def _add_picture(target: Any, segment: Path, info: FilmInfo) -> Any:
    with import_av().open(str(segment)) as first:
        stream = target.add_stream_from_template(first.streams.video[0], opaque=True)
    stream.time_base = info.time_base
    # NUT keeps neither colours nor the shape of pixels, and most codecs' own streams do not either.
    context = stream.codec_context
    context.sample_aspect_ratio, context.framerate = info.pixel_aspect, info.rate
    for name, value in info.colours:
        setattr(context, name, value)
    if info.rotation and hasattr(stream, 'set_display_rotation'):
        stream.set_display_rotation(info.rotation)
    with open_film(info.path) as source:
        original = video_stream(source)
        stream.metadata.update(_kept_metadata(original.metadata))
        stream.disposition = original.disposition
    return stream


def _pixel_aspect(path: Path) -> Fraction:
    with import_av().open(str(path)) as container:
        return Fraction(container.streams.video[0].sample_aspect_ratio or 1) or Fraction(1)


def _last_duration(info: FilmInfo) -> int:
    """Return for how many ticks the film's last frame is shown, 0 if it does not say."""
    with open_film(info.path) as source:
        packets = source.demux(video_stream(source))
        return max(((each.pts, each.duration or 0) for each in packets if each.pts is not None), default=(0, 0))[1]


def _add_others(target: Any, source: Any, output: Path) -> tuple[dict[int, Any], list[str]]:
    """Add a stream for each other of the film's that the container holds; return them by index, and what it lacks."""
    av = import_av()
    added, left_out = {}, []
    moving = video_stream(source)
    for stream in source.streams:
        if stream.index == moving.index:
            continue
        try:
            if stream.type == 'attachment':
                if output.suffix != '.mkv':
                    raise ValueError
                target.add_attachment(stream.name or 'attachment', stream.mimetype or '', stream.data)
                continue
            if not _holds(target, stream):
                raise ValueError
            new = target.add_stream_from_template(stream)
            new.time_base = stream.time_base
            new.metadata.update(_kept_metadata(stream.metadata))
            new.disposition = stream.disposition
            added[stream.index] = new
        except (av.FFmpegError, ValueError, NotImplementedError, AttributeError, TypeError):
            if stream.type == 'data' and (_chapters(source) or 'timecode' in {*source.metadata, *moving.metadata}):
                continue  # mp4 keeps those in tracks, which the output makes anew
            codec = getattr(stream.codec_context, 'name', None) or 'unknown'
            left_out.append(f'stream {stream.index}, {stream.type} ({codec}), which {output.suffix} does not hold')
    return added, left_out


def _holds(target: Any, stream: Any) -> bool:
    context = stream.codec_context
    return context is not None and (
        not target.supported_codecs or context.codec.canonical_name in target.supported_codecs
    )


def fits(info: FilmInfo, suffix: str) -> bool:
    """Say whether a container of ``suffix`` holds every sound and subtitle of the film."""
    av = import_av()
    known = av.ContainerFormat({'.mkv': 'matroska', '.m4v': 'mp4'}.get(suffix, suffix[1:]), 'w')
    if suffix == '.mkv':
        return True
    with open_film(info.path) as source:
        names = [s.codec_context.codec.canonical_name for s in (*source.streams.audio, *source.streams.subtitles)]
    with av.open(os.devnull, 'w', format=known.name) as probe:
        return all(name in probe.supported_codecs for name in names)


def _kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Drop what a container writes by itself."""
    own = ('major_brand', 'minor_version', 'compatible_brands', 'encoder', 'duration', 'number_of_', '_statistics')
    return {key: value for key, value in metadata.items() if not key.lower().startswith(own)}


def _copy_chapters(source: Any, target: Any) -> None:
    if chapters := _chapters(source):
        target.set_chapters(chapters)


def _chapters(source: Any) -> Any:
    return source.chapters() if hasattr(source, 'chapters') else []  # PyAV before 14


def _picture_packets(
    segments: Sequence[Path], stream: Any, info: FilmInfo, last: int, files: contextlib.ExitStack
) -> Iterator[Any]:
    """Yield the segments' packets in the order of decoding, with decoding times that never run back.

    Each segment's own decoding times begin before its first frame, and may fall before the end of the segment before
    where the frames' distances vary; taken from all frames in order, they cannot.
    """
    order: list[int] = []  # times of showing that no packet has yet as its time of decoding
    delay = max(_reorder(path) for path in segments)
    step = max(1, round(1 / (info.rate * info.time_base)))
    begun = False
    for path in segments:
        container = files.enter_context(import_av().open(str(path)))
        packets = [packet for packet in container.demux(video=0) if packet.pts is not None]
        for packet in packets:  # the segment may count in ticks of its own
            packet.pts = round(packet.pts * packet.time_base / info.time_base)
            packet.time_base = info.time_base
        times = sorted(packet.pts for packet in packets)
        if not begun:
            order = [times[0] - step * (delay - i) for i in range(delay)]
            begun = True
        for time in times:
            heapq.heappush(order, time)
        following = dict(itertools.pairwise(times))
        for packet in packets:
            packet.dts = heapq.heappop(order)
            final = last if path is segments[-1] and last else step
            packet.duration = following.get(packet.pts, packet.pts + final) - packet.pts
            packet.stream = stream
            yield packet
        container.close()


def _reorder(path: Path) -> int:
    """Return how many frames later than in the order of decoding a segment's frames are shown, at most."""
    with import_av().open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    rank = {time: place for place, time in enumerate(sorted(times))}
    return max((place - rank[time] for place, time in enumerate(times)), default=0)


def _other_packets(source: Any, added: dict[int, Any], end: Fraction | None) -> Iterator[Any]:
    if not added:
        return
    streams = [source.streams[index] for index in added]
    for packet in source.demux(streams):
        if packet.dts is None and packet.pts is None:
            continue
        time = packet.pts if packet.pts is not None else packet.dts
        if end is not None and time * packet.time_base >= end:
            continue
        packet.stream = added[packet.stream_index]
        yield packet


def _merged(first: Iterator[Any], second: Iterator[Any]) -> Iterator[Any]:
    """Yield the packets of both in the order of decoding, so that the container has to hold none back."""
    return heapq.merge(first, second, key=lambda p: float((p.dts if p.dts is not None else p.pts) * p.time_base))
