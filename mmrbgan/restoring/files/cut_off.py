"""Files that were cut off: what is there is decoded, and how much is missing is said.

A JPEG that lacks nothing but its end marker is complete. Training data are read elsewhere (``mmrbgan_data.images``),
and strictly.
"""

import io
import re
import threading

import numpy as np
from PIL import Image, ImageFile

JPEG_END = b'\xff\xd9'
MARKER = re.compile(rb'\xff[^\x00\xd0-\xd7\xff]')
OTHER_BITS = bytes(range(0x10, 0xF0)) * 40  # no marker among them
ROUGH = 'cut off: finer detail is missing'
FORMATS = ('PNG', 'TIFF', 'BMP', 'GIF', 'PPM', 'TGA', 'SGI', 'PCX')
_PATIENCE = threading.Lock()


def is_cut_off(error: Exception) -> bool:
    """Say whether a decoder's error means that the file ends too early."""
    return isinstance(error, OSError) and any(word in str(error).lower() for word in ('truncated', 'unexpected end'))


def complete_jpeg(content: bytes) -> tuple[bytes, str | None]:
    """Return a JPEG with an end marker, and what is missing (None: nothing).

    Where pixels are missing, whatever follows the last byte decides what a decoder makes of them: it is decoded twice,
    with different bits there, and what differs is missing.
    """
    try:
        pixels = _decode(content + JPEG_END)
    except OSError:  # it ends within a table: what follows the last whole scan is of no use
        content = content[: [match.start() for match in MARKER.finditer(content)][-1]]
        _decode(content + JPEG_END)
        return content + JPEG_END, ROUGH
    ended = content + JPEG_END
    try:
        differs = np.any(pixels != _decode(content + OTHER_BITS + JPEG_END), axis=(1, 2))
    except OSError:  # the decoder gave up on the other bits: they were asked for
        differs = np.any(pixels != pixels[-1:, -1:], axis=(1, 2))[::-1].cumsum()[::-1] == 0
        differs[-1] = True
    if not differs.any():
        return ended, None
    if b'\xff\xc2' in content:  # progressive: all of it is there, some of it roughly
        return ended, ROUGH
    return ended, _say(int(differs.argmax()), len(differs), 'grey')


def load_patiently(image: Image.Image) -> str | None:
    """Load the pixels of a file that is cut off; return what is missing.

    Raises:
        OSError: nothing can be had of it.
    """
    with _PATIENCE:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            image.load()
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
    array = np.asarray(image.convert('RGBA' if image.has_transparency_data else 'RGB'))
    there = np.flatnonzero(np.any(array != array[-1:, -1:], axis=(1, 2)))
    if not len(there):
        raise OSError('image file is truncated')
    return _say(int(there[-1]) + 1, len(array), 'empty')


def _decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content), formats=('JPEG', 'MPO')) as image:
        return np.asarray(image.convert('RGB'), np.uint8)


def _say(first: int, rows: int, look: str) -> str:
    share = max(1, round(100 * (rows - first) / rows))
    return f'cut off: the lower {share} % (below row {first} of {rows}) is missing and stays {look}'
