"""Chooses codec and container of a restored film, and encodes its frames into segments.

A segment is a NUT file (MOV for ProRes, which NUT does not hold): it keeps the film's own timestamps exactly and
begins with a key frame, so that finished segments outlive a kill and are joined without encoding again.
"""

import contextlib
import dataclasses
import errno
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError

from .reading import COLOURS, FilmFrame, FilmInfo, import_av

KEPT_CONTAINERS = ('.mp4', '.m4v', '.mov', '.mkv', '.webm')  # others become .mkv, which holds everything
WEBM_CODECS = ('libvpx-vp9', 'libvpx', 'libsvtav1', 'libaom-av1')
# The film's codec -> encoders, the first that this PyAV has is taken; a codec that is not here becomes H.264.
ENCODERS = {
    'hevc': ('libx265',),
    'vp9': ('libvpx-vp9',),
    'vp8': ('libvpx-vp9', 'libvpx'),
    'av1': ('libsvtav1', 'libaom-av1'),
    'ffv1': ('ffv1',),
    'prores': ('prores_ks',),
}
MOST_CRF = 63  # of VP9 and AV1; H.264 and H.265 end at 51
MOV_OPTIONS = {'avoid_negative_ts': 'disabled', 'movflags': '+negative_cts_offsets'}
NUT_OPTIONS = {'avoid_negative_ts': 'disabled'}  # times of showing are the film's, whatever those of decoding are
USUAL = ('libx264', 'libopenh264', 'mpeg4')
EVEN_SIDES = ('libx264', 'libx265', 'libsvtav1')  # refuse odd sizes of subsampled colour
ODD_SIDES = ('libvpx-vp9', 'mpeg4')
# Encoder -> its option for quality and a value at which the difference is hard to see.
QUALITY = {
    'libx264': ('crf', 17), 'libx265': ('crf', 19), 'libvpx-vp9': ('crf', 24), 'libsvtav1': ('crf', 24),
    'libaom-av1': ('crf', 22), 'libvpx': ('crf', 8), 'mpeg4': ('q', 3),
}  # fmt: skip
EXTRA_OPTIONS = {
    'libvpx-vp9': {'b': '0', 'row-mt': '1', 'cpu-used': '4', 'deadline': 'good'},
    'libx265': {'x265-params': 'log-level=error'},
    'ffv1': {'level': '3', 'slicecrc': '1', 'g': '1'},
}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a film is encoded.

    Attributes:
        encoder: FFmpeg's name.
        pixel_format: of the encoded frames.
        options: of the encoder.
    """

    encoder: str
    pixel_format: str
    options: dict[str, str]


def choose_encoding(info: FilmInfo, codec: str | None, crf: float | None, lossless: bool, scale: float) -> Encoding:
    """Return the encoding for a film.

    Args:
        info: the film.
        codec: the encoder that the user names, or None.
        crf: its quality, or None.
        lossless: FFV1, whatever the film has.
        scale: enlargement; enlarged films have even sides.

    Raises:
        UsageError: this PyAV has no such encoder, or it knows no crf.
    """
    if lossless and (codec not in (None, 'ffv1') or crf is not None):
        raise UsageError('--lossless takes FFV1; leave out --codec and --crf')
    odd = scale == 1 and any(side % 2 for side in info.size)
    encoder = _encoder('ffv1' if lossless else codec, info.codec, odd)
    options = dict(EXTRA_OPTIONS.get(encoder, {}))
    if encoder in QUALITY:
        name, usual = QUALITY[encoder]
        if crf is not None and not (math.isfinite(crf) and 0 <= crf <= MOST_CRF):
            raise UsageError(f'--crf {crf:g}: must be from 0 (best) to {MOST_CRF}')
        options[name] = f'{usual if crf is None else crf:g}'
    elif crf is not None:
        raise UsageError(f'--crf: {encoder} has no such setting; leave it out')
    return Encoding(encoder, _pixel_format(encoder, info.pixel_format), options)


def choose_suffix(info: FilmInfo, encoding: Encoding) -> str:
    """Return the suffix, and with it the container, of the restored film: the film's own where it can be."""
    suffix = info.path.suffix.lower()
    if suffix not in KEPT_CONTAINERS or (encoding.encoder == 'ffv1' and suffix != '.mkv'):
        return '.mkv'
    if suffix == '.webm' and encoding.encoder not in WEBM_CODECS:
        return '.mkv'
    return '.mov' if encoding.encoder == 'prores_ks' else suffix


def check_suffix(output: Path, encoding: Encoding) -> None:
    """Refuse a container that does not hold the encoding.

    Raises:
        UsageError: its suffix is none of ``KEPT_CONTAINERS``, or of one for other codecs.
    """
    suffix = output.suffix.lower()
    if suffix not in KEPT_CONTAINERS:
        raise UsageError(f'-o {output}: films are written as {", ".join(KEPT_CONTAINERS)}')
    if encoding.encoder == 'ffv1' and suffix != '.mkv':
        raise UsageError(f'-o {output}: FFV1 goes into .mkv')
    if encoding.encoder == 'prores_ks' and suffix not in ('.mov', '.mkv'):
        raise UsageError(f'-o {output}: ProRes goes into .mov or .mkv')
    if suffix == '.webm' and encoding.encoder not in WEBM_CODECS:
        raise UsageError(f'-o {output}: .webm holds no {encoding.encoder}; take .mkv, or --codec {WEBM_CODECS[0]}')


class SegmentWriter:
    """Encodes frames into one segment file, which has its name once it is whole.

    Args:
        path: the file.
        info: the film, for time base and rate.
        encoding: how.
        first: its first frame, for size and colours.
    """

    def __init__(self, path: Path, info: FilmInfo, encoding: Encoding, first: Any) -> None:
        self.path = path
        self._part = path.with_suffix('.part')
        self._encoding = encoding
        form, options = ('mov', MOV_OPTIONS) if encoding.encoder == 'prores_ks' else ('nut', NUT_OPTIONS)
        self._container = import_av().open(str(self._part), 'w', form, options=options)
        with self._told():
            self._stream = self._container.add_stream(encoding.encoder, rate=info.rate, options=encoding.options)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = first.width, first.height, encoding.pixel_format
        context.time_base = self._stream.time_base = info.time_base
        context.framerate = info.rate
        context.sample_aspect_ratio = info.pixel_aspect
        for name in COLOURS:
            setattr(context, name, getattr(first, name))
        self._flag_global_header(context)
        context.thread_count = 0

    def add(self, frame: FilmFrame, video: Any) -> None:
        """Encode ``video`` with the timestamp of ``frame``."""
        if video.format.name != self._encoding.pixel_format:
            video = video.reformat(format=self._encoding.pixel_format)
        video.pts, video.time_base = frame.pts, self._stream.codec_context.time_base
        video.pict_type = 0  # the encoder's choice, not the film's
        with self._told():
            self._container.mux(self._stream.encode(video))

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn an encoder's refusal into one line; a full disk is for the caller."""
        try:
            yield
        except (import_av().FFmpegError, ValueError) as error:
            if is_disk_error(error):
                raise
            reason = getattr(error, 'strerror', None) or error
            raise UsageError(
                f'--codec {self._encoding.encoder}: cannot encode this film ({reason}); name another encoder'
            ) from error

    def close(self) -> None:
        """Finish the segment, and give it its name."""
        with self._told():
            self._container.mux(self._stream.encode(None))
            self._container.close()
        os.replace(self._part, self.path)

    def drop(self) -> None:
        """Leave the segment unfinished."""
        self._container.close()
        self._part.unlink(missing_ok=True)

    @staticmethod
    def _flag_global_header(context: Any) -> None:
        """Ask for the codec's header in the container: mp4 and Matroska want it there."""
        from av.codec.context import Flags

        context.flags |= Flags.global_header


def is_disk_error(error: BaseException) -> bool:
    """Say whether an error is the system's refusal to write, such as a full disk."""
    return getattr(error, 'errno', None) in (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EIO,
        errno.EACCES,
        errno.EROFS,
    )


def _encoder(named: str | None, codec: str, odd: bool) -> str:
    if named is not None:
        if not _has(named):
            raise UsageError(f'--codec {named}: this PyAV has no such encoder; {", ".join(_known())} are here')
        if odd and named in EVEN_SIDES:
            raise UsageError(f'--codec {named}: takes no odd sizes; take {ODD_SIDES[0]} or --lossless')
        return named
    choices = (*ENCODERS.get(codec, ()), *USUAL)
    if odd:
        choices = (*(name for name in choices if name not in EVEN_SIDES), *ODD_SIDES)
        choices = tuple(sorted(choices, key=lambda name: name == 'mpeg4'))
    found = next((name for name in choices if _has(name)), None)
    if found is None:
        raise UsageError('this PyAV has no encoder that is known here; name one with --codec')
    return found


def _known() -> list[str]:
    return [name for name in (*QUALITY, 'ffv1', 'prores_ks') if _has(name)]


def _has(encoder: str) -> bool:
    av = import_av()
    try:
        result: bool = av.Codec(encoder, 'w').type == 'video'
        return result
    except (av.codec.codec.UnknownCodecError, ValueError):
        return False


def _pixel_format(encoder: str, film: str) -> str:
    """Return the film's own pixel format where the encoder has it, else the nearest: bits first, then colour."""
    known = [each.name for each in import_av().Codec(encoder, 'w').video_formats or ()]
    from .reading import PLANAR

    planar = PLANAR.get(film, film)
    deep = '10le' if any(bits in planar for bits in ('10', '12', '14', '16')) else ''
    colour = next((c for c in ('444', '422', '420') if c in planar), '444' if planar.startswith('gb') else '420')
    lossless = {'gbrp': 'bgr0', 'gbrap': 'bgra', 'gray': 'gray'}.get(planar, planar) if encoder == 'ffv1' else planar
    wanted = [lossless, planar, planar.replace('yuva', 'yuv'), f'yuv{colour}p{deep}', f'yuv420p{deep}', 'yuv420p']
    return next((name for name in wanted if name in known), known[0] if known else 'yuv420p')
