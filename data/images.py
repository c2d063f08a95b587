"""Reads images: any mode to RGB uint8, from a folder or an LMDB, with the path in every error.

Decoders silently return truncated images (OpenCV fills the rest of a JPEG with grey), so files are first checked for
their end.
"""

import importlib
import io
import os
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mmrbgan_arch.support.atomic_files import write_bytes
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

from .image_formats import SUFFIXES, is_heic, readable_formats

META_FILE = 'meta.json'  # ours; BasicSR's is meta_info.txt
BASICSR_META_FILE = 'meta_info.txt'
MAX_PIXELS = 178_956_970  # Pillow's own limit: 0.5 GB once decoded

_PNG, _JPEG = b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff'
_PNG_END, _JPEG_END = b'IEND\xaeB`\x82', b'\xff\xd9'
_PNG_LEAST = 45  # bytes: signature, header and end
_ENVIRONMENTS: dict[str, tuple[int, Any]] = {}  # root -> the process that opened it, and the environment
_BASICSR_LINE = re.compile(r'^(?P<key>.*)\.png \(\d+,\d+,\d+\) \d+$')


class UnreadableImageError(ValueError):
    """One image that cannot be used; the message is one line with its path and the reason."""


def decode_image(content: bytes, name: str) -> np.ndarray:
    """Return the image in ``content`` as RGB uint8 (h, w, 3), upright.

    16 bits become 8, grey and palette become RGB, CMYK is converted, alpha is laid over white, EXIF rotation is done.

    Args:
        content: the bytes of a file.
        name: for the error.

    Raises:
        UnreadableImageError: empty, truncated, no image, or too large.
    """
    try:
        if plain_size(content):
            image = opencv_decode(content, cv2.IMREAD_COLOR)
            if image is not None:
                return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
        return _decode_any(content)
    except UnreadableImageError as error:
        raise UnreadableImageError(f'{name}: {error}') from error
    except Image.DecompressionBombError as error:
        raise UnreadableImageError(f'{name}: too large; scale it down') from error
    # Decoders answer a damaged file with any exception (SyntaxError, struct.error, cv2.error, ...).
    except Exception as error:
        reason = 'not an image' if isinstance(error, UnidentifiedImageError) else f'unreadable image ({error})'
        raise UnreadableImageError(f'{name}: {" ".join(reason.split())}') from error


def read_image(path: str | Path) -> np.ndarray:
    """Return the image file at ``path`` as RGB uint8 (h, w, 3), upright; see ``decode_image``.

    Raises:
        UnreadableImageError: the file cannot be read or is not an intact image.
    """
    return decode_image(_read_bytes(Path(path)), str(path))


def open_image(content: bytes) -> Image.Image:
    """Open a file's bytes with Pillow, HEIC (iPhones' photographs) where pillow-heif is installed.

    Raises:
        UnreadableImageError: empty, or HEIC without that package.
        PIL.UnidentifiedImageError: not an image.
    """
    if not content:
        raise UnreadableImageError('empty file')
    if is_heic(content):
        return _open_heic(content)
    return Image.open(io.BytesIO(content), formats=readable_formats())


def opencv_decode(content: bytes, flags: int) -> np.ndarray | None:
    """Return what OpenCV reads, None where it cannot, without its own lines on stderr."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image: np.ndarray | None = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        return image
    finally:
        cv2.utils.logging.setLogLevel(before)


def probe_image(content: bytes, name: str) -> tuple[int, int]:
    """Return (width, height) of an intact image; the common kinds are judged by head, end and check sums, not decoded.

    Raises:
        UnreadableImageError: as ``decode_image``.
    """
    size = plain_size(content)
    if size and (content.startswith(_JPEG) or _png_sums_agree(content)):
        return size
    height, width = decode_image(content, name).shape[:2]
    return width, height


def write_image(path: str | Path, image: np.ndarray, quality: int = 95) -> None:
    """Write RGB uint8 (h, w, 3) to ``path`` (any name, any alphabet), in the format of its suffix."""
    path = Path(path)
    options = {'.png': [cv2.IMWRITE_PNG_COMPRESSION, 3]}.get(path.suffix.lower(), [cv2.IMWRITE_JPEG_QUALITY, quality])
    _, content = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    write_bytes(path, content.tobytes())


def encode_png(image: np.ndarray) -> bytes:
    """Return RGB uint8 (h, w, 3) as a PNG file."""
    _, content = cv2.imencode('.png', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    return content.tobytes()


def list_images(folder: str | Path) -> list[str]:
    """Return the names of all images under ``folder``, relative, with slashes, sorted; hidden ones are left out.

    Links to folders are followed, but not back into a folder that they lie in.
    """
    names: list[str] = []
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [('', (_identity(folder),))]
    while pending:
        prefix, inside = pending.pop()
        for entry in _entries(f'{folder}/{prefix}'):
            name = prefix + entry.name
            if not _is_folder(entry):
                names += [name] * _is_image_name(entry.name)
            elif not entry.name.startswith('.') and (here := _identity(entry.path)) not in inside:
                pending.append((f'{name}/', (*inside, here)))
    return sorted(names)


class ImageSource:
    """The images of a folder or an LMDB, by index and by name; cheap to pickle, opened on first use in each process.

    Args:
        root: a folder of images, or a folder ``*.lmdb`` as written by ``mmrbgan prepare`` or by BasicSR.
        key: the option that named it, for error lines.

    Raises:
        UsageError: the folder is missing or holds no image.
    """

    def __init__(self, root: str | Path, key: str = 'dataroot') -> None:
        self.root = Path(root).expanduser()
        if not self.root.is_dir():
            raise UsageError(f'{key}: no folder {str(root)!r}; make it, or correct the path')
        self.is_lmdb = self.root.suffix == '.lmdb'
        self._lmdb_keys: Sequence[str] | None = None
        self.names: list[str] = self._read_lmdb_index(key) if self.is_lmdb else list_images(self.root)
        if not self.names:
            raise UsageError(f'{key}: no image in {str(root)!r}; known kinds: {", ".join(sorted(SUFFIXES))}')

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Return where image ``index`` lies, as text for messages and file names."""
        return str(self.root / self.names[index])

    def read(self, index: int) -> np.ndarray:
        """Return image ``index`` as RGB uint8 (h, w, 3).

        Raises:
            UnreadableImageError: it cannot be read.
        """
        return decode_image(self.read_bytes(index), self.path(index))

    def read_bytes(self, index: int) -> bytes:
        """Return the undecoded file ``index``."""
        if self._lmdb_keys is None:
            return _read_bytes(self.root / self.names[index])
        try:
            with open_lmdb(str(self.root)).begin() as transaction:
                content: bytes | None = transaction.get(self._lmdb_keys[index].encode())
        except import_lmdb().Error as error:
            raise UnreadableImageError(f'{self.path(index)}: damaged LMDB ({error}); make it again') from error
        if content is None:
            raise UnreadableImageError(f'{self.path(index)}: listed in the LMDB but not in it')
        return content

    def _read_lmdb_index(self, key: str) -> list[str]:
        meta, basicsr_meta = self.root / META_FILE, self.root / BASICSR_META_FILE
        try:
            if meta.is_file():
                content = parse_json(meta.read_bytes())
                names: list[str] = content['files']
                self._lmdb_keys = keys = content.get('keys') or LmdbKeys(len(names))
                if len(keys) != len(names):
                    raise ValueError(f'{len(names)} files, {len(keys)} keys')
                return names
            if basicsr_meta.is_file():
                lines = basicsr_meta.read_text(encoding='utf-8').splitlines()
                keys = [match['key'] for match in map(_BASICSR_LINE.match, lines) if match]
                self._lmdb_keys = keys
                return [f'{name}.png' for name in keys]
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(
                f'{key}: the list in {str(self.root)!r} is damaged ({error}); make the LMDB again'
            ) from error
        raise UsageError(
            f'{key}: {str(self.root)!r} holds neither {META_FILE} nor {BASICSR_META_FILE}; not an LMDB of images'
        )


def import_lmdb() -> Any:
    """Return the module lmdb, which only training needs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module('lmdb')
    except ImportError as error:
        raise UsageError("an LMDB needs the package lmdb; `pip install lmdb`, or 'mmrbgan[train]'") from error


def open_lmdb(root: str) -> Any:
    """Return this process's one read-only environment of ``root``: LMDB allows no second one.

    One inherited by fork must not be used, so it is closed (in this process alone) and opened anew.
    """
    process, environment = _ENVIRONMENTS.get(root, (None, None))
    if environment is not None and process != os.getpid():
        environment.close()
    if process != os.getpid():
        _check_length(Path(root) / 'data.mdb')
        environment = import_lmdb().open(root, readonly=True, lock=False, readahead=False, meminit=False)
        _ENVIRONMENTS[root] = os.getpid(), environment
    return environment


def _check_length(path: Path) -> None:
    """Refuse a file that is shorter than its header says: reading behind its end would kill the process (SIGBUS).

    LMDB begins with two pages that describe it: 16 bytes of page header, magic number, version, address and size of
    the map, two tables of 48 bytes of which the first holds the page's size, the last page and the transaction.
    """
    with path.open('rb') as file:
        head = file.read(152)
        page = struct.unpack_from('<I', head, 40)[0] if len(head) == 152 else 0
        file.seek(page)
        pages = [found for found in (head, file.read(152)) if len(found) == 152]
    told = [struct.unpack_from('<QQ', found, 136)[::-1] for found in pages if found[16:20] == b'\xde\xc0\xef\xbe']
    length = (max(told)[1] + 1) * page if told else 0
    if not length or path.stat().st_size < length:
        raise UsageError(f'{path}: damaged or cut off ({path.stat().st_size} of {length} bytes); make the LMDB again')


def close_lmdb(root: str | Path) -> None:
    """Close this process's environment of ``root``, because another is about to take its place."""
    _, environment = _ENVIRONMENTS.pop(str(root), (0, None))
    if environment is not None:
        environment.close()


class LmdbKeys(Sequence[str]):
    """Plain numbers, the keys of LMDBs whose list names none, and of names that are no keys for BasicSR."""

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        return self.key(index)

    @staticmethod
    def key(index: int) -> str:
        """Return the key of image ``index``."""
        return f'{index:08d}'


def resize_square(image: np.ndarray, size: int) -> np.ndarray:
    """Return (size, size, 3) of a square (h, h, 3) image, by area when shrinking, bicubic when enlarging.

    Raises:
        UnreadableImageError: the image is not square; the caller adds the path.
    """
    height, width = image.shape[:2]
    if height != width:
        raise UnreadableImageError(
            f'{width}x{height} is not square; cut out and align the faces with `mmrbgan prepare`'
        )
    if height == size:
        return image
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if size < height else cv2.INTER_CUBIC)


def _entries(folder: str) -> 'list[os.DirEntry[str]]':
    """What lies in a folder; nothing where it may not be read."""
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _is_folder(entry: 'os.DirEntry[str]') -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _read_bytes(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImageError(f'{path}: no file')  # a pipe would never end
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImageError(f'{path}: {error.strerror or error}') from error


def _is_image_name(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith('.')


def plain_size(content: bytes) -> tuple[int, int] | None:
    """Return (width, height) of what OpenCV reads well: a whole 8-bit RGB or grey PNG, a whole JPEG, not CMYK."""
    width = height = 0
    if content.startswith(_PNG) and content.endswith(_PNG_END) and len(content) >= _PNG_LEAST:
        width, height, depth, colour = struct.unpack('>IIBB', content[16:26])
        if depth != 8 or colour not in (0, 2) or b'eXIf' in content[:4096]:
            return None
    elif content.startswith(_JPEG) and content.rstrip(b'\0').endswith(_JPEG_END):
        height, width, channels = _jpeg_frame(content)
        if channels not in (1, 3):
            return None
    return (width, height) if 0 < width * height <= MAX_PIXELS else None


def is_whole_png(content: bytes) -> bool:
    """Say whether a PNG has all its pixels and its end, as their check sums have it; libpng writes to stderr else."""
    if len(content) < _PNG_LEAST or not content.endswith(_PNG_END) or not _png_sums_agree(content):
        return False
    width, height, depth, colour, *_, interlaced = struct.unpack('>IIBBBBB', content[16:29])
    row = 1 + (width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 0) + 7) // 8
    try:
        pixels = zlib.decompress(b''.join(data for kind, data in _png_chunks(content) if kind == b'IDAT'))
    except zlib.error:
        return False
    return len(pixels) >= row * height or bool(interlaced)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(_PNG)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], 'big')
        yield content[place + 4 : place + 8], content[place + 8 : end]
        place = end + 4


def _png_sums_agree(content: bytes) -> bool:
    """Say whether every chunk of a PNG has the check sum that stands behind it."""
    place = len(_PNG)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], 'big')
        if zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4], 'big'):
            return False
        place = end + 4
    return place == len(content)


def _jpeg_frame(content: bytes) -> tuple[int, int, int]:
    """Return height, width and number of channels from the JPEG's frame header; zeros if no pixels follow it."""
    place, frame = 2, (0, 0, 0)
    while place + 10 <= len(content) and content[place] == 0xFF:
        marker, length, _, height, width, channels = struct.unpack('>xBHBHHB', content[place : place + 10])
        if marker == 0xDA:  # the first scan
            return frame
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            frame = height, width, channels
        place += 2 + length
    return 0, 0, 0


def _decode_any(content: bytes) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # Pillow's warnings of damaged metadata; damaged pixels are errors
        with open_image(content) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
    return np.ascontiguousarray(_to_rgb(upright))


def _open_heic(content: bytes) -> Image.Image:
    """Open HEIC without registering its decoder, which would take over AVIF from Pillow."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnreadableImageError("HEIC; `pip install 'mmrbgan[heic]'`, or save it as JPEG") from error
    return HeifImageFile(io.BytesIO(content))


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith('I;16') or image.mode in ('I', 'F'):
        return np.repeat(_to_8_bits(np.asarray(image))[:, :, None], 3, 2)
    if image.has_transparency_data:
        rgba = image.convert('RGBA')
        return np.asarray(Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba).convert('RGB'))
    return np.asarray(image.convert('RGB'))


def _to_8_bits(grey: np.ndarray) -> np.ndarray:
    """Return uint8 from 16-bit integers or from float (in [0, 1], or in [0, 255])."""
    scale = 255 / 65535 if grey.dtype.kind in 'iu' else (255.0 if grey.max(initial=0) <= 1 else 1.0)
    return np.clip(np.rint(grey.astype(np.float64) * scale), 0, 255).astype(np.uint8)
