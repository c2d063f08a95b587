"""What a photograph says beside its pixels: profile, EXIF, print size, XMP, IPTC, comment, text; format by format.

``docs/restore.md`` has the table of what each format can hold; a test makes it.
"""

import dataclasses
import struct
import zlib
from typing import Any

from PIL import Image, PngImagePlugin

ORIENTATION, X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 0x0112, 282, 283, 296
EXIF_IFD, GPS_IFD, PIXEL_WIDTH, PIXEL_HEIGHT = 0x8769, 0x8825, 0xA002, 0xA003
DESCRIPTION, XMP_TAG, IPTC_TAG, ICC_TAG = 270, 700, 33723, 34675
DESCRIPTIVE_TAGS = (DESCRIPTION, 271, 272, 305, 306, 315, 316, 33432)  # of TIFF, which EXIF's first part shares
OTHER_COLOURS = frozenset(('CMYK', 'LAB', 'YCbCr'))  # modes whose profile does not fit their RGB
IPTC_RESOURCE = 0x0404  # among Photoshop's
PNG_IPTC, PNG_XMP = 'Raw profile type iptc', 'XML:com.adobe.xmp'
# Held elsewhere, not as text: ImageMagick's forms of the other blocks.
PNG_BLOCKS = (PNG_IPTC, PNG_XMP, 'Raw profile type exif', 'Raw profile type APP1', 'Raw profile type xmp')
LONGEST_SEGMENT = 65533  # bytes of a JPEG segment without its length
EXIF_MARK = b'Exif\0\0'
INCH = 0.0254  # metres


@dataclasses.dataclass(frozen=True, eq=False)
class Metadata:
    """What a file says beside its pixels; None where it says nothing.

    Attributes:
        icc: ICC profile.
        exif: EXIF block that begins with ``Exif``, its orientation done and set to 1.
        dpi: pixels per inch, across and down.
        xmp: packet of XMP.
        iptc: records of IPTC-IIM.
        comment: of JPEG and GIF, or PNG's text ``Comment``.
        text: PNG's other texts.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes | None = None
    text: tuple[tuple[str, str], ...] = ()


def read_metadata(image: Image.Image) -> tuple[Metadata, int]:
    """Return the metadata of an opened file and its orientation (1 is upright), which the metadata no longer has.

    It must be called before the pixels are loaded, since Pillow turns a TIFF while it loads it.
    """
    orientation, exif = _read_exif(image)
    icc = image.info.get('icc_profile') if image.mode not in OTHER_COLOURS else None
    found = Metadata(icc=icc or None, exif=exif, dpi=_read_dpi(image), xmp=_bytes(image.info.get('xmp')))
    if image.format == 'TIFF':
        tags = image.tag_v2  # type: ignore[attr-defined]
        return dataclasses.replace(found, xmp=_bytes(tags.get(XMP_TAG)), iptc=_bytes(tags.get(IPTC_TAG))), orientation
    resources = image.info.get('photoshop')
    iptc = _bytes(resources.get(IPTC_RESOURCE)) if isinstance(resources, dict) else None
    return dataclasses.replace(found, iptc=iptc, comment=_bytes(image.info.get('comment'))), orientation


def enlarged(metadata: Metadata, scale: float, width: int, height: int) -> Metadata:
    """Return the metadata of a picture enlarged by ``scale`` to ``width`` x ``height``: it prints at the same size."""
    dpi = metadata.dpi and (metadata.dpi[0] * scale, metadata.dpi[1] * scale)
    exif = metadata.exif
    if exif:
        block = _load(exif)
        if dpi and X_RESOLUTION in block:
            block[X_RESOLUTION], block[Y_RESOLUTION], block[RESOLUTION_UNIT] = *dpi, 2
        sizes = block.get_ifd(EXIF_IFD)
        for tag, value in ((PIXEL_WIDTH, width), (PIXEL_HEIGHT, height)):
            if tag in sizes:
                sizes[tag] = value
        exif = block.tobytes()
    return dataclasses.replace(metadata, dpi=dpi, exif=exif)


def jpeg_options(metadata: Metadata) -> dict[str, Any]:
    """Return what Pillow's JPEG writer takes; a block that is too long for a segment is left out."""
    options: dict[str, Any] = {'icc_profile': metadata.icc, 'comment': metadata.comment}
    if metadata.dpi:
        options['dpi'] = tuple(min(65535, max(1, round(value))) for value in metadata.dpi)
    blocks = (('exif', metadata.exif, 0), ('xmp', metadata.xmp, 29))
    options |= {name: block for name, block, head in blocks if block and len(block) + head <= LONGEST_SEGMENT}
    if metadata.iptc and (segment := _photoshop_segment(metadata.iptc)):
        options['extra'] = segment
    return {name: value for name, value in options.items() if value}


def webp_options(metadata: Metadata) -> dict[str, Any]:
    """Return what Pillow's WebP writer takes; the print size goes into EXIF."""
    options = {'icc_profile': metadata.icc, 'exif': _exif_with_dpi(metadata), 'xmp': metadata.xmp}
    return {name: value for name, value in options.items() if value}


def add_png_metadata(png: bytes, metadata: Metadata) -> bytes:
    """Put the metadata behind the header chunk, which ends at byte 33."""
    chunks = b''
    if metadata.icc:
        chunks += _png_chunk(b'iCCP', b'ICC profile\0\0' + zlib.compress(metadata.icc))
    if metadata.dpi:
        x, y = (min(2**31 - 1, round(value / INCH)) for value in metadata.dpi)
        chunks += _png_chunk(b'pHYs', struct.pack('>IIB', x, y, 1))
    if metadata.exif:
        chunks += _png_chunk(b'eXIf', metadata.exif.removeprefix(EXIF_MARK))
    if metadata.xmp:
        chunks += _png_text(PNG_XMP, metadata.xmp.decode('utf-8', 'replace'), international=True)
    if metadata.iptc:
        resource = _photoshop_resource(metadata.iptc)
        lines = f'\niptc\n{len(resource):8d}\n{resource.hex()}\n'
        chunks += _png_chunk(b'zTXt', PNG_IPTC.encode() + b'\0\0' + zlib.compress(lines.encode()))
    if metadata.comment:
        chunks += _png_text('Comment', _to_text(metadata.comment))
    for key, value in metadata.text:
        chunks += _png_text(key, value)
    return png[:33] + chunks + png[33:]


def tiff_tags(metadata: Metadata) -> list[tuple[int, int, int, Any, bool]]:
    """Return tifffile's ``extratags``: XMP, IPTC, camera and author of EXIF, and the comment as description."""
    tags: list[tuple[int, int, int, Any, bool]] = []
    for tag, block in ((XMP_TAG, metadata.xmp), (IPTC_TAG, metadata.iptc)):
        if block:
            tags.append((tag, 1, len(block), block, True))
    texts: dict[int, Any] = {}
    if metadata.exif:
        exif = _load(metadata.exif)
        texts = {tag: exif[tag] for tag in DESCRIPTIVE_TAGS if isinstance(exif.get(tag), str)}
    comment = metadata.comment and _to_text(metadata.comment)
    comment = comment or next((value for key, value in metadata.text if key in ('Description', 'Title')), None)
    if comment and DESCRIPTION not in texts:
        texts[DESCRIPTION] = comment
    for tag, text in texts.items():
        encoded = text.encode('utf-8').replace(b'\0', b' ') + b'\0'
        tags.append((tag, 2, len(encoded), encoded, True))
    return tags


def append_exif(tiff: bytes, exif: bytes | None) -> bytes:
    """Append the camera's and the GPS part of an EXIF block to a little-endian TIFF, and point its tags at them.

    tifffile writes no such tags, so ``tiff`` has others in their place, each numbered one lower (``placeholders``).
    """
    for tag, ifd in exif_parts(exif).items():
        tiff += b'\0' * (len(tiff) % 2)
        place = _place(tiff, tag - 1)
        entry = struct.pack('<HHII', tag, 4, 1, len(tiff))
        tiff = tiff[:place] + entry + tiff[place + 12 :] + ifd.tobytes(len(tiff))
    return tiff


def placeholders(exif: bytes | None) -> list[tuple[int, int, int, Any, bool]]:
    """Return tifffile's ``extratags`` that ``append_exif`` puts its own in the place of."""
    return [(tag - 1, 4, 1, 0, True) for tag in exif_parts(exif)]


def exif_parts(exif: bytes | None) -> dict[int, Any]:
    """Return tag -> the part of an EXIF block it points at (Pillow's directory), little-endian."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    parts: dict[int, Any] = {}
    block = _load(exif) if exif else Image.Exif()
    for tag in (EXIF_IFD, GPS_IFD):
        content = {key: value for key, value in block.get_ifd(tag).items() if not isinstance(value, dict)}
        if content:
            parts[tag] = ImageFileDirectory_v2(ifh=b'II*\0\0\0\0\0')
            for key, value in content.items():
                parts[tag][key] = value
    return parts


def _place(tiff: bytes, tag: int) -> int:
    """Return where the entry of ``tag`` stands in the first directory of a little-endian TIFF."""
    (start,) = struct.unpack_from('<I', tiff, 4)
    (count,) = struct.unpack_from('<H', tiff, start)
    for place in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from('<H', tiff, place)[0] == tag:
            return place
    raise AssertionError(f'tag {tag} was not written')


def _read_exif(image: Image.Image) -> tuple[int, bytes | None]:
    exif = image.getexif()
    orientation = exif.get(ORIENTATION, 1)
    if orientation not in range(2, 9):
        orientation = 1
    if image.format == 'TIFF':  # whose tags are those of the file, too
        kept = Image.Exif()
        for tag in DESCRIPTIVE_TAGS:
            if tag in exif:
                kept[tag] = exif[tag]
        for tag in (EXIF_IFD, GPS_IFD):
            if part := exif.get_ifd(tag):
                kept.get_ifd(tag).update(part)
                kept[tag] = 0
        return orientation, kept.tobytes() if len(kept) else None
    if orientation == 1:
        block = image.info.get('exif')
        return 1, block and EXIF_MARK + block.removeprefix(EXIF_MARK)
    upright = _load(exif.tobytes())  # Pillow keeps its own
    upright[ORIENTATION] = 1
    return orientation, upright.tobytes()


def _read_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the print size if the file says one; of a JPEG without any Pillow says 72."""
    try:
        x, y = (float(value) for value in image.info['dpi'])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return _exif_dpi(image) if image.format in ('WEBP', 'AVIF', 'HEIF') else None
    silent = image.format in ('JPEG', 'MPO') and image.info.get('jfif_unit') not in (1, 2)
    if silent and X_RESOLUTION not in image.getexif():
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _exif_dpi(image: Image.Image) -> tuple[float, float] | None:
    exif = image.getexif()
    per_inch = 2.54 if exif.get(RESOLUTION_UNIT) == 3 else 1.0
    try:
        x, y = float(exif[X_RESOLUTION]) * per_inch, float(exif[Y_RESOLUTION]) * per_inch
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def with_png_text(found: Metadata, text: dict[str, str]) -> Metadata:
    """Return the metadata with the texts of a PNG, which may stand behind its pixels."""
    text = dict(text)
    iptc = _iptc_of_png(text.get(PNG_IPTC))
    comment = text.pop('Comment', None)
    rest = tuple((str(key), str(value)) for key, value in text.items() if key not in PNG_BLOCKS)
    xmp = found.xmp or _bytes(text.get(PNG_XMP))
    return dataclasses.replace(found, xmp=xmp, iptc=iptc, comment=_bytes(comment), text=rest)


def _iptc_of_png(text: str | None) -> bytes | None:
    """Return the records from ImageMagick's form: name, length, hexadecimal digits; perhaps in Photoshop's frame."""
    if not text:
        return None
    try:
        block = bytes.fromhex(''.join(text.split()[2:]))
    except ValueError:
        return None
    head = b'8BIM' + struct.pack('>H', IPTC_RESOURCE)
    if not block.startswith(head):
        return block or None
    name = 6 + (block[6] + 2) // 2 * 2 if len(block) > 6 else len(block)
    return block[name + 4 : name + 4 + int.from_bytes(block[name : name + 4], 'big')] or None


def _photoshop_resource(iptc: bytes) -> bytes:
    padding = b'\0' * (len(iptc) % 2)
    return b'8BIM' + struct.pack('>HHI', IPTC_RESOURCE, 0, len(iptc)) + iptc + padding


def _photoshop_segment(iptc: bytes) -> bytes:
    content = b'Photoshop 3.0\0' + _photoshop_resource(iptc)
    return b'\xff\xed' + struct.pack('>H', len(content) + 2) + content if len(content) <= LONGEST_SEGMENT else b''


def _exif_with_dpi(metadata: Metadata) -> bytes | None:
    if not metadata.dpi:
        return metadata.exif
    block = _load(metadata.exif) if metadata.exif else Image.Exif()
    block[X_RESOLUTION], block[Y_RESOLUTION], block[RESOLUTION_UNIT] = *metadata.dpi, 2
    return block.tobytes()


def _load(exif: bytes) -> Image.Exif:
    block = Image.Exif()
    block.load(exif)
    return block


def _png_text(key: str, value: str, international: bool = False) -> bytes:
    name = key.encode('latin-1', 'replace')[:79]
    try:
        if not international:
            return _png_chunk(b'tEXt', name + b'\0' + value.encode('latin-1'))
    except UnicodeEncodeError:
        pass
    return _png_chunk(b'iTXt', name + b'\0\0\0\0\0' + value.encode('utf-8', 'replace'))


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))


def _to_text(comment: bytes) -> str:
    try:
        return comment.decode('utf-8')
    except UnicodeDecodeError:
        return comment.decode('latin-1')


def _bytes(value: Any) -> bytes | None:
    """Return a block that Pillow gives as bytes, text or a tuple of numbers."""
    if isinstance(value, PngImagePlugin.iTXt | str):
        return value.encode('utf-8', 'replace') or None
    if isinstance(value, tuple) and all(isinstance(one, int) for one in value):
        return struct.pack(f'<{len(value)}I', *value)  # IPTC stored as LONGs
    return bytes(value) if isinstance(value, bytes | bytearray) and value else None
