"""Photographs as files: pixels of 8 or 16 bits, alpha and what a file says beside them come back as they went in.

``mmrbgan_data.images`` reads anything to plain RGB for training; here nothing of a photograph may be lost on the way.
"""

import dataclasses
import io
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmrbgan_data.images import MAX_PIXELS, UnreadableImageError, is_whole_png, open_image, opencv_decode

from .cut_off import FORMATS, complete_jpeg, is_cut_off, load_patiently
from .metadata import (
    Metadata,
    add_png_metadata,
    append_exif,
    enlarged,
    jpeg_options,
    placeholders,
    read_metadata,
    tiff_tags,
    webp_options,
    with_png_text,
)
from .tiff_pages import choose_page, open_tiff, read_deep

KEPT_FORMATS = frozenset(('PNG', 'TIFF', 'BMP', 'WEBP'))  # written without loss; anything else becomes PNG
SUFFIXES_BY_FORMAT = {'PNG': '.png', 'TIFF': '.tif', 'BMP': '.bmp', 'WEBP': '.webp', 'JPEG': '.jpg'}
KNOWN_SUFFIXES = frozenset((*SUFFIXES_BY_FORMAT.values(), '.jpeg', '.tiff'))
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    'PNG': {'compress_level': 3},  # a third of the time of the default, some percent larger
    'BMP': {},
    'WEBP': {'lossless': True, 'exact': True},  # exact: colour under full transparency stays
    'JPEG': {'quality': 95, 'subsampling': 0},
}
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, as JPEG and Pillow have it


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A decoded photograph, upright.

    Attributes:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w) of the same type, or None.
        grey: the file has one channel; it is written with one.
        format: Pillow's name of the file's format.
        meta: profile, EXIF, print size and words.
        warning: what is missing of a file that was cut off.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    format: str = 'PNG'
    meta: Metadata = dataclasses.field(default_factory=Metadata)
    warning: str | None = None


def read_picture(path: str | Path) -> Picture:
    """Read the photograph at ``path``.

    Raises:
        UnreadableImageError: it cannot be read; one line with the path and the reason.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise UnreadableImageError(f'{path}: not a file')  # a pipe or a device may never end
        content = Path(path).read_bytes()
    except OSError as error:
        raise UnreadableImageError(f'{path}: {error.strerror or error}') from error
    return decode_picture(content, str(path))


def decode_picture(content: bytes, name: str) -> Picture:
    """Decode the bytes of a file; ``name`` is for the error.

    Raises:
        UnreadableImageError: empty, damaged, no image, animated, of several pages or too large.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # Pillow's warnings of damaged metadata; damaged pixels are errors
            return _decode(_open(content), content)
    except UnreadableImageError as error:
        raise UnreadableImageError(f'{name}: {error}') from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f'{name}: too large; scale it down') from error
    except MemoryError as error:
        raise UnreadableImageError(f'{name}: does not fit into memory; scale it down') from error
    except Exception as error:  # decoders answer a damaged file with any exception
        reason = 'not an image' if isinstance(error, UnidentifiedImageError) else f'unreadable image ({error})'
        raise UnreadableImageError(f'{name}: {" ".join(reason.split())}') from error


def encode_picture(picture: Picture, file_format: str) -> bytes:
    """Encode a picture as ``file_format`` (a key of ``SUFFIXES_BY_FORMAT``), with alpha, profile and EXIF.

    JPEG takes no alpha and no 16 bits: alpha is laid over white, 16 bits become 8.
    """
    if file_format == 'TIFF':
        return _encode_tiff(picture)
    if picture.pixels.dtype == np.uint16 and file_format == 'PNG':
        return add_png_metadata(_encode_16_bit_png(picture), picture.meta)
    image = _to_pillow(picture)
    if file_format == 'JPEG' and image.mode in ('LA', 'RGBA'):
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image.convert('RGBA')).convert('RGB')
    metadata: dict[str, Any] = {}
    if file_format in ('JPEG', 'WEBP'):
        metadata = (jpeg_options if file_format == 'JPEG' else webp_options)(picture.meta)
    elif file_format == 'BMP' and picture.meta.dpi:
        metadata = {'dpi': picture.meta.dpi}
    stream = io.BytesIO()
    image.save(stream, file_format, **SAVE_OPTIONS[file_format], **metadata)
    return add_png_metadata(stream.getvalue(), picture.meta) if file_format == 'PNG' else stream.getvalue()


def output_format(picture: Picture, wanted: str) -> str:
    """Settle the format to write: ``auto`` loses nothing, ``same`` is the file's own, else a name such as ``jpg``."""
    if wanted == 'auto':
        return picture.format if picture.format in KEPT_FORMATS else 'PNG'
    if wanted == 'same':
        return picture.format if picture.format in SUFFIXES_BY_FORMAT else 'PNG'
    return {'jpg': 'JPEG', 'tif': 'TIFF'}.get(wanted, wanted.upper())


def resize_picture(picture: Picture, scale: float) -> Picture:
    """Return the picture enlarged by ``scale`` (Lanczos; by area when it shrinks).

    Raises:
        UnreadableImageError: the result would be too large.
    """
    if scale == 1:
        return picture
    height, width = picture.pixels.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size[0] * size[1] > MAX_PIXELS:
        raise UnreadableImageError(f'{size[0]}x{size[1]} at scale {scale:g} is too large; choose a smaller scale')
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LANCZOS4
    alpha = None if picture.alpha is None else cv2.resize(picture.alpha, size, interpolation=method)
    pixels = cv2.resize(picture.pixels, size, interpolation=method)
    return dataclasses.replace(picture, pixels=pixels, alpha=alpha, meta=enlarged(picture.meta, scale, *size))


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 from uint8 or uint16."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def to_bytes(face: np.ndarray) -> np.ndarray:
    """Return uint8 from float in [0, 1]."""
    result: np.ndarray = np.rint(np.clip(face, 0, 1) * 255).astype(np.uint8)
    return result


def _open(content: bytes) -> Any:
    try:
        return open_image(content)
    except UnidentifiedImageError:
        if (tiff := open_tiff(content)) is None:
            raise
        return tiff


def _decode(image: Image.Image, content: bytes) -> Picture:
    _check_size(image)
    if image.format in ('GIF', 'PNG', 'WEBP', 'AVIF') and getattr(image, 'is_animated', False):
        raise UnreadableImageError('animated; save its frames as single pictures')
    if image.format == 'HEIF' and getattr(image, 'n_frames', 1) > 1:
        raise UnreadableImageError('several pages; save them as single pictures')
    if image.format == 'TIFF':
        choose_page(image, content)
    array, warning = _read_deep(image, content), None
    meta, orientation = read_metadata(image) if image.format == 'TIFF' else (Metadata(), 1)
    if array is None:
        image, warning = _load(image, content)
    if image.format != 'TIFF':  # Pillow loads a PNG to read its EXIF
        meta, orientation = read_metadata(image)
    if image.format == 'PNG':
        meta = with_png_text(meta, _png_text(image))
    file_format = 'JPEG' if image.format == 'MPO' else str(image.format)
    return _to_picture(image, array, meta, orientation, file_format, warning)


def _load(image: Image.Image, content: bytes) -> tuple[Image.Image, str | None]:
    """Load the pixels; where the file was cut off, what is there of them, and say what is missing."""
    try:
        image.load()
        return image, None
    except Exception as error:
        if not is_cut_off(error):
            raise
    again = open_image(content)  # the one before is stuck
    if again.format in ('JPEG', 'MPO'):
        ended, warning = complete_jpeg(content)
        whole = open_image(ended)
        whole.load()
        return whole, warning
    if again.format not in FORMATS:
        raise UnreadableImageError('cut off; nothing of it can be read')
    return again, load_patiently(again)


def from_pillow(image: Image.Image) -> Picture:
    """Take a Pillow image of 8 or 16 bits, turned upright, with its profile and what it says.

    Raises:
        UnreadableImageError: a mode of 32 bits, or too large.
    """
    _check_size(image)
    meta, orientation = read_metadata(image)
    if image.format == 'PNG':
        meta = with_png_text(meta, _png_text(image))
    array = np.asarray(image).astype(np.uint16) if image.mode.startswith('I;16') else None
    return _to_picture(image, array, meta, orientation)


def _to_picture(
    image: Image.Image,
    array: np.ndarray | None,
    meta: Metadata,
    orientation: int,
    file_format: str = 'PNG',
    warning: str | None = None,
) -> Picture:
    if array is None:
        array = np.asarray(image.convert(_plain_mode(image)))
        orientation = 1 if image.format == 'TIFF' else orientation  # Pillow turned it while loading
    pixels, alpha, grey = _split(_turn(array, orientation))
    return Picture(pixels, alpha, grey, file_format, meta, warning)


def _png_text(image: Image.Image) -> dict[str, str]:
    try:
        return dict(image.text)  # type: ignore[attr-defined]
    except Exception:  # they may stand where the file was cut off
        return {}


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f'{width}x{height} is too large; scale it down')


def _plain_mode(image: Image.Image) -> str:
    if image.mode in ('I', 'F'):
        raise UnreadableImageError(f'{image.mode} pixels (32 bits); save it with 8 or 16 bits')
    if image.mode == 'LAB':
        raise UnreadableImageError('8-bit LAB is not read; save it as RGB of 8 or 16 bits')
    grey = image.mode in ('1', 'L', 'LA', 'La')
    return ('LA' if grey else 'RGBA') if image.has_transparency_data else ('L' if grey else 'RGB')


def _read_deep(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Return uint16 (h, w[, 3 or 4]) RGB if the file has more than 8 bits, which Pillow would cut."""
    if image.format == 'TIFF':
        return read_deep(image, content)
    if image.format != 'PNG' or content[24] != 16:
        return None
    if not is_whole_png(pixels := _pixels_alone(content)):
        raise UnreadableImageError('cut off or damaged; with 16 bits nothing of it can be read')
    array = opencv_decode(pixels, cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise UnreadableImageError('16 bits in an unusual form; save it as plain 16-bit PNG')
    codes = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
    return np.asarray(array if array.ndim == 2 else cv2.cvtColor(array, codes[array.shape[2]]))


def _pixels_alone(png: bytes) -> bytes:
    """Return a PNG without what its decoder in OpenCV would remark on, on stderr."""
    kept, place = [png[:8]], 8
    while place + 12 <= len(png):
        end = place + 12 + int.from_bytes(png[place : place + 4], 'big')
        if png[place + 4 : place + 8] in (b'IHDR', b'PLTE', b'IDAT', b'tRNS', b'IEND'):
            kept.append(png[place:end])
        place = end
    return b''.join(kept)


def _turn(array: np.ndarray, orientation: int) -> np.ndarray:
    """Return the array upright: 2-4 mirror and turn by half, 5-8 also swap rows and columns."""
    if orientation >= 5:
        array = np.swapaxes(array, 0, 1)
    axes = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    return np.ascontiguousarray(np.flip(array, axes))


def _split(array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """Return RGB (h, w, 3), alpha (h, w) or None, and whether it is grey."""
    if array.ndim == 2:
        return np.repeat(array[:, :, None], 3, 2), None, True
    channels = array.shape[2]
    alpha = np.ascontiguousarray(array[:, :, -1]) if channels in (2, 4) else None
    if channels == 2:
        return np.repeat(array[:, :, :1], 3, 2), alpha, True
    return np.ascontiguousarray(array[:, :, :3]), alpha, False


def to_grey(pixels: np.ndarray) -> np.ndarray:
    """Return the luma (h, w) of RGB (h, w, 3), in its type; exact where the channels are equal."""
    return np.rint(pixels @ LUMA).astype(pixels.dtype)


def _layers(picture: Picture, pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Return (h, w) or (h, w, 2 | 3 | 4): grey or RGB, with alpha if there is one."""
    layers = to_grey(pixels)[:, :, None] if picture.grey else pixels
    layers = layers if alpha is None else np.dstack([layers, alpha])
    return layers[:, :, 0] if layers.shape[2] == 1 else layers


def _to_pillow(picture: Picture) -> Image.Image:
    alpha = None if picture.alpha is None else to_8_bits(picture.alpha)
    return Image.fromarray(_layers(picture, to_8_bits(picture.pixels), alpha))


def _encode_16_bit_png(picture: Picture) -> bytes:
    layers = _layers(picture, picture.pixels, picture.alpha)
    if layers.ndim == 3 and layers.shape[2] == 2:
        layers = np.dstack([layers[:, :, [0, 0, 0]], layers[:, :, 1]])  # OpenCV writes no grey with alpha
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    array = layers if layers.ndim == 2 else cv2.cvtColor(layers, codes[layers.shape[2]])
    return cv2.imencode('.png', array)[1].tobytes()


def _encode_tiff(picture: Picture) -> bytes:
    import tifffile

    stream, meta = io.BytesIO(), picture.meta
    tifffile.imwrite(
        stream,
        _layers(picture, picture.pixels, picture.alpha),
        byteorder='<',
        photometric='minisblack' if picture.grey else 'rgb',
        extrasamples=None if picture.alpha is None else ['unassalpha'],
        iccprofile=meta.icc,
        resolution=meta.dpi,
        resolutionunit=None if meta.dpi is None else 2,
        extratags=[*tiff_tags(meta), *placeholders(meta.exif)],
        compression='zlib',
        predictor=True,
        software=False,
        metadata=None,
    )
    return append_exif(stream.getvalue(), meta.exif)
