"""TIFF: which of its pages is the photograph, and pixels of more than 8 bits, which Pillow cuts or refuses."""

import io
import logging
from typing import Any

import cv2
import numpy as np
from PIL import Image

from mmrbgan_data.images import UnreadableImageError, opencv_decode

BITS, PHOTOMETRIC, PLANAR, SAMPLE_FORMAT, PAGE_KIND, OLD_PAGE_KIND, DNG_VERSION = 258, 262, 284, 339, 254, 255, 50706
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
COLOURS = {0: 'grey', 1: 'grey', 2: 'RGB', 3: 'palette', 5: 'CMYK', 6: 'YCbCr', 8: 'LAB', 9: 'LAB', 10: 'LAB'}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
REDUCED, MASK = 1, 4  # bits of PAGE_KIND
RAW = 'a camera raw file, of which only a preview could be read; develop it to TIFF or JPEG first'


def choose_page(image: Image.Image, content: bytes) -> None:
    """Go to the one page that is neither a reduced version nor a mask.

    Raises:
        UnreadableImageError: there are several, or none (camera raw files hold a preview first).
    """
    if content[8:10] == b'CR':
        raise UnreadableImageError(RAW)
    whole = []
    for page in range(getattr(image, 'n_frames', 1)):
        image.seek(page)
        tags = image.tag_v2  # type: ignore[attr-defined]
        if DNG_VERSION in tags:
            raise UnreadableImageError(RAW)
        if not int(tags.get(PAGE_KIND, 0)) & (REDUCED | MASK) and int(tags.get(OLD_PAGE_KIND, 1)) != 2:
            whole.append(page)
    if not whole:
        raise UnreadableImageError(RAW)
    if len(whole) > 1:
        raise UnreadableImageError('several pages; save them as single pictures')
    image.seek(whole[0])


def read_deep(image: Image.Image, content: bytes) -> np.ndarray | None:
    """Return the pixels as uint16 (h, w[, 2 to 4]) if they have more than 8 bits, not yet turned upright.

    Floating-point pixels count from 0 (black) to 1.

    Raises:
        UnreadableImageError: colours or numbers that are not read, by name.
    """
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits, kind = max(tags.get(BITS, (1,))), max(tags.get(SAMPLE_FORMAT, (UNSIGNED,)))
    colours = COLOURS.get(tags.get(PHOTOMETRIC, 1), 'unusual colours')
    if bits <= 8:
        return None
    numbers = {SIGNED: 'signed', FLOAT: 'floating-point'}.get(kind, '')
    name = ' '.join(f'{bits}-bit {numbers} {colours}'.split())
    if colours not in ('grey', 'RGB') or kind == SIGNED or (kind == UNSIGNED and bits != 16):
        raise UnreadableImageError(f'{name} is not read; save it as RGB of 8 or 16 bits')
    array = _pixels(image.tell(), tags, content, name)
    if tags.get(PLANAR, 1) == 2 and array.ndim == 3 and array.shape[0] in (2, 3, 4):
        array = np.moveaxis(array, 0, 2)
    if kind == FLOAT:
        array = _from_float(array, name)
    if array.dtype != np.uint16 or array.shape[:2] != (image.size[1], image.size[0])[:: _rows_first(tags)]:
        raise UnreadableImageError(f'{name} in an unusual form; save it as plain 16-bit PNG')
    return 65535 - array if tags.get(PHOTOMETRIC, 1) == WHITE_IS_ZERO else array


class TagsAlone:
    """A TIFF that Pillow does not open (floating-point RGB, 16-bit LAB, ...), with as much of its image as is used."""

    format = 'TIFF'
    mode = 'RGB'

    def __init__(self, content: bytes) -> None:
        import tifffile

        logging.getLogger('tifffile').setLevel(logging.CRITICAL)  # its lines would stand between ours
        self.pages: Any = tifffile.TiffFile(io.BytesIO(content)).pages
        self.n_frames = len(self.pages)
        self.info: dict[str, Any] = {}
        self.seek(0)

    def seek(self, page: int) -> None:
        """Go to a page."""
        self.page = page
        found = self.pages[page]
        self.tag_v2 = {tag.code: self._plain(tag) for tag in found.tags.values()}
        rows, columns = found.imagelength, found.imagewidth
        self.size = (rows, columns) if int(self.tag_v2.get(274, 1)) >= 5 else (columns, rows)
        resolution = found.get_resolution(2) if 282 in self.tag_v2 else None
        self.info = {'icc_profile': self.tag_v2.get(34675)} | ({'dpi': resolution} if resolution else {})

    def tell(self) -> int:
        """Return the number of the page."""
        return self.page

    def getexif(self) -> Image.Exif:
        """Return what the page's own tags say."""
        exif = Image.Exif()
        for tag, value in self.tag_v2.items():
            if isinstance(value, str | int):
                exif[tag] = value
        for tag in (34665, 34853):
            exif.pop(tag, None)
        return exif

    @staticmethod
    def _plain(tag: Any) -> Any:
        if tag.code in (BITS, SAMPLE_FORMAT):
            return tag.value if isinstance(tag.value, tuple) else (int(tag.value),)
        return (
            tag.value if isinstance(tag.value, str | bytes | tuple) else int(tag.value) if tag.count == 1 else tag.value
        )


def open_tiff(content: bytes) -> Any:
    """Return a TIFF that Pillow does not open, or None where it is none."""
    if content[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return None
    try:
        return TagsAlone(content)
    except Exception:  # too damaged
        return None


def _pixels(page: int, tags: Any, content: bytes, name: str) -> np.ndarray:
    """Return the pixels as stored: by tifffile, or where it lacks the compression by OpenCV (plain pages only)."""
    import tifffile

    logging.getLogger('tifffile').setLevel(logging.CRITICAL)  # its lines would stand between ours
    try:
        array = tifffile.TiffFile(io.BytesIO(content)).pages[page].asarray()
    except Exception as error:  # a compression that it has no package for, or a damaged file
        plain = page == 0 and tags.get(PLANAR, 1) == 1 and tags.get(PHOTOMETRIC, 1) in (BLACK_IS_ZERO, RGB)
        read = opencv_decode(content, cv2.IMREAD_UNCHANGED) if plain else None
        if read is None or int(tags.get(274, 1)) != 1:
            raise UnreadableImageError(f'{name}, damaged or in an unusual form; save it as 16-bit PNG') from error
        codes = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}
        return np.asarray(read if read.ndim == 2 else cv2.cvtColor(read, codes[read.shape[2]]))
    return np.asarray(array)


def _rows_first(tags: Any) -> int:
    """1: Pillow says the size as it is stored; -1: it has swapped width and height, as the orientation asks."""
    return -1 if int(tags.get(274, 1)) in (5, 6, 7, 8) else 1


def _from_float(array: np.ndarray, name: str) -> np.ndarray:
    low, high = float(array.min(initial=0)), float(array.max(initial=0))
    if not (low >= 0 and high <= 1):  # NaN is neither
        raise UnreadableImageError(f'{name} from {low:g} to {high:g}; scale it to 0 (black) to 1')
    return np.rint(array.astype(np.float64) * 65535).astype(np.uint16)
