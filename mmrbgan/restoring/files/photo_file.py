"""Photographs as files: pixels of 8 or 16 bits, alpha, ICC profile and EXIF come back as they went in.

``mmrbgan_data.images`` reads anything to plain RGB for training; here nothing of a photograph may be lost on the way.
"""

import dataclasses
import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from mmrbgan_data.images import MAX_PIXELS, UnreadableImageError, open_image

ORIENTATION_TAG = 0x0112  # of EXIF
PHOTOMETRIC_TAG, PLANAR_TAG = 262, 284  # of TIFF
KEPT_FORMATS = frozenset(('PNG', 'TIFF', 'BMP', 'WEBP'))  # written without loss; anything else becomes PNG
SUFFIXES_BY_FORMAT = {'PNG': '.png', 'TIFF': '.tif', 'BMP': '.bmp', 'WEBP': '.webp', 'JPEG': '.jpg'}
KNOWN_SUFFIXES = frozenset((*SUFFIXES_BY_FORMAT.values(), '.jpeg', '.tiff'))
SAVE_OPTIONS: dict[str, dict[str, Any]] = {
    'PNG': {'compress_level': 3},  # a third of the time of the default, some percent larger
    'TIFF': {'compression': 'tiff_deflate'},
    'BMP': {},
    'WEBP': {'lossless': True, 'exact': True},  # exact: colour under full transparency stays
    'JPEG': {'quality': 95, 'subsampling': 0},
}
PROFILE_OF_OTHER_COLOURS = frozenset(('CMYK', 'LAB', 'YCbCr'))  # modes whose profile does not fit their RGB
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601, as JPEG and Pillow have it


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A decoded photograph, upright.

    Attributes:
        pixels: (h, w, 3) RGB, uint8 or uint16.
        alpha: (h, w) of the same type, or None.
        grey: the file has one channel; it is written with one.
        format: Pillow's name of the file's format.
        icc: ICC profile.
        exif: EXIF block, its orientation done and set to 1.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    format: str = 'PNG'
    icc: bytes | None = None
    exif: bytes | None = None


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
            with open_image(content) as image:
                return _decode(image, content)
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
    if picture.pixels.dtype == np.uint16 and file_format in ('PNG', 'TIFF'):
        return _encode_16_bits(picture, file_format)
    image = _to_pillow(picture)
    if file_format == 'JPEG' and image.mode in ('LA', 'RGBA'):
        image = Image.alpha_composite(Image.new('RGBA', image.size, 'white'), image.convert('RGBA')).convert('RGB')
    metadata = {'icc_profile': picture.icc, 'exif': picture.exif} if file_format != 'BMP' else {}
    stream = io.BytesIO()
    image.save(
        stream, file_format, **SAVE_OPTIONS[file_format], **{key: value for key, value in metadata.items() if value}
    )
    return stream.getvalue()


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
    return dataclasses.replace(picture, pixels=cv2.resize(picture.pixels, size, interpolation=method), alpha=alpha)


def to_8_bits(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 from uint8 or uint16."""
    if pixels.dtype == np.uint8:
        return pixels
    return ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def to_bytes(face: np.ndarray) -> np.ndarray:
    """Return uint8 from float in [0, 1]."""
    return np.rint(np.clip(face, 0, 1) * 255).astype(np.uint8)


def _decode(image: Image.Image, content: bytes) -> Picture:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f'{width}x{height} is too large; scale it down')
    if image.format in ('GIF', 'PNG', 'WEBP', 'AVIF') and getattr(image, 'is_animated', False):
        raise UnreadableImageError('animated; save its frames as single pictures')
    if image.format in ('TIFF', 'HEIF') and getattr(image, 'n_frames', 1) > 1:
        raise UnreadableImageError('several pages; save them as single pictures')
    image.load()
    file_format = 'JPEG' if image.format == 'MPO' else str(image.format)
    return dataclasses.replace(from_pillow(image, _read_16_bits(image, content)), format=file_format)


def from_pillow(image: Image.Image, array: np.ndarray | None = None) -> Picture:
    """Take a Pillow image of 8 or 16 bits, turned upright, with its profile and EXIF.

    Args:
        image: of any mode but those of 32 bits.
        array: its pixels (h, w[, 2 to 4]), if they are known better than Pillow knows them.

    Raises:
        UnreadableImageError: a mode of 32 bits, or too large.
    """
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f'{width}x{height} is too large; scale it down')
    if array is None and image.mode.startswith('I;16'):
        array = np.asarray(image).astype(np.uint16)
    icc = image.info.get('icc_profile') if image.mode not in PROFILE_OF_OTHER_COLOURS else None
    orientation, exif = _orientation(image)
    if array is None:
        array = np.asarray(image.convert(_plain_mode(image)))
    pixels, alpha, grey = _split(_turn(array, orientation))
    return Picture(pixels, alpha, grey, icc=icc or None, exif=exif)


def _plain_mode(image: Image.Image) -> str:
    if image.mode in ('I', 'F'):
        raise UnreadableImageError(f'{image.mode} pixels (32 bits); save it with 8 or 16 bits')
    grey = image.mode in ('1', 'L', 'LA', 'La')
    return ('LA' if grey else 'RGBA') if image.has_transparency_data else ('L' if grey else 'RGB')


def _read_16_bits(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Return uint16 (h, w[, 3 or 4]) RGB if the file has 16 bits, which Pillow would cut to 8."""
    bits = image.tag_v2.get(258, (8,)) if image.format == 'TIFF' else (content[24],)  # type: ignore[attr-defined]
    if image.format not in ('PNG', 'TIFF') or max(bits) != 16:
        return None
    if image.format == 'TIFF' and not _is_plain_tiff(image.tag_v2):  # type: ignore[attr-defined]
        raise UnreadableImageError('16 bits in an unusual form; save it as plain 16-bit PNG')
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16:
        raise UnreadableImageError('16 bits in an unusual form; save it as plain 16-bit PNG')
    if array.ndim == 2:
        return array
    return cv2.cvtColor(array, cv2.COLOR_BGR2RGB if array.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)


def _is_plain_tiff(tags: Any) -> bool:
    """Whether the channels lie together and 0 is black; others OpenCV silently misreads."""
    return tags.get(PLANAR_TAG, 1) == 1 and tags.get(PHOTOMETRIC_TAG, 1) != 0


def _orientation(image: Image.Image) -> tuple[int, bytes | None]:
    """Return the EXIF orientation (1 is upright) and the EXIF block of the upright picture."""
    exif = image.getexif()
    orientation = exif.get(ORIENTATION_TAG, 1)
    if orientation not in range(2, 9):
        return 1, image.info.get('exif')
    exif[ORIENTATION_TAG] = 1
    return orientation, exif.tobytes()


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


def _encode_16_bits(picture: Picture, file_format: str) -> bytes:
    if file_format == 'TIFF':
        return _encode_16_bit_tiff(picture)
    layers = _layers(picture, picture.pixels, picture.alpha)
    codes = {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}
    array = layers if layers.ndim == 2 else cv2.cvtColor(layers, codes[layers.shape[2]])
    return _add_png_metadata(cv2.imencode('.png', array)[1].tobytes(), picture)


def _encode_16_bit_tiff(picture: Picture) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(
        stream,
        _layers(picture, picture.pixels, picture.alpha),
        photometric='minisblack' if picture.grey else 'rgb',
        extrasamples=None if picture.alpha is None else ['unassalpha'],
        iccprofile=picture.icc,
        compression='zlib',
        metadata=None,
    )
    return stream.getvalue()


def _add_png_metadata(png: bytes, picture: Picture) -> bytes:
    """Put the ICC profile and EXIF behind the header chunk, which ends at byte 33."""
    chunks = b''
    if picture.icc:
        chunks += _png_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(picture.icc))
    if picture.exif:
        chunks += _png_chunk(b'eXIf', picture.exif.removeprefix(b'Exif\0\0'))
    return png[:33] + chunks + png[33:]


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
