"""What a photograph says beside its pixels comes through every pair of formats that can hold it."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, PngImagePlugin, features

from mmrbgan.restoring.files.metadata import Metadata
from mmrbgan.restoring.files.photo_file import Picture, decode_picture, encode_picture, resize_picture

DOCS = Path(__file__).parents[2] / 'docs' / 'restore.md'
NAMES = {
    'icc': 'ICC profile', 'exif': 'EXIF, GPS', 'dpi': 'print size (dpi)', 'xmp': 'XMP', 'iptc': 'IPTC',
    'comment': 'comment', 'text': "PNG's texts",
}  # fmt: skip
WRITTEN = {'PNG': np.uint8, 'PNG, 16 bits': np.uint16, 'TIFF': np.uint8, 'TIFF, 16 bits': np.uint16}
WRITTEN |= {'JPEG': np.uint8, 'WEBP': np.uint8, 'BMP': np.uint8}
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
IPTC = b'\x1c\x02\x78\0\x07caption'
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">person</x:xmpmeta>'


def exif():
    block = Image.Exif()
    block[271], block[315] = 'a maker', 'an artist'
    block.get_ifd(0x8769)[0x9003] = '1969:07:20 20:17:40'
    block.get_ifd(0x8825)[1], block.get_ifd(0x8825)[2] = 'N', (28.0, 36.0, 29.0)
    return block.tobytes()


def everything():
    return Metadata(
        icc=ICC,
        exif=exif(),
        dpi=(300.0, 200.0),
        xmp=XMP,
        iptc=IPTC,
        comment='Grüße'.encode(),
        text=(('Author', 'NASA'), ('Title', '眼')),
    )


def pixels(dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (12, 16, 3), dtype=dtype, endpoint=True)


def says(block):
    """Name -> what is compared."""
    found = Image.Exif()
    if block.exif:
        found.load(block.exif)
    camera, place = found.get_ifd(0x8769), found.get_ifd(0x8825)
    kept = found.get(271), found.get(315), camera.get(0x9003), tuple(map(float, place.get(2, ())))
    return {
        'icc': block.icc, 'exif': kept if any(kept) else None, 'xmp': block.xmp, 'iptc': block.iptc,
        'dpi': block.dpi and tuple(round(value) for value in block.dpi), 'comment': block.comment,
        'text': block.text or None,
    }  # fmt: skip


def kept(kind):
    """Names of what comes back from a file of this kind."""
    content = encode_picture(Picture(pixels(WRITTEN[kind]), meta=everything()), kind.partition(',')[0])
    picture = decode_picture(content, 'x')
    assert picture.pixels.dtype == WRITTEN[kind]
    wanted, found = says(everything()), says(picture.meta)
    assert all(found[name] in (wanted[name], None) for name in NAMES if name != 'exif')
    return {name for name in NAMES if found[name] == wanted[name]}


EXPECTED = {
    'PNG': set(NAMES), 'PNG, 16 bits': set(NAMES), 'TIFF': set(NAMES) - {'text', 'comment'},
    'TIFF, 16 bits': set(NAMES) - {'text', 'comment'}, 'JPEG': set(NAMES) - {'text'},
    'WEBP': {'icc', 'exif', 'dpi', 'xmp'}, 'BMP': {'dpi'},
}  # fmt: skip


@pytest.mark.parametrize('kind', WRITTEN)
def test_what_a_format_can_hold_survives(kind):
    assert kept(kind) == EXPECTED[kind]


@pytest.mark.parametrize('target', ['PNG', 'TIFF', 'JPEG', 'WEBP', 'BMP'])
@pytest.mark.parametrize('source', ['PNG', 'PNG, 16 bits', 'TIFF', 'TIFF, 16 bits', 'JPEG', 'WEBP', 'BMP'])
def test_every_pair_keeps_what_both_can_hold(source, target):
    first = encode_picture(Picture(pixels(WRITTEN[source]), meta=everything()), source.partition(',')[0])
    second = decode_picture(encode_picture(decode_picture(first, 'x'), target), 'x')
    wanted, found = says(everything()), says(second.meta)
    assert {name for name in NAMES if found[name] == wanted[name]} >= EXPECTED[source] & EXPECTED[target]


def table():
    heads = list(NAMES.values())
    lines = ['| file | ' + ' | '.join(heads) + ' |', '| --- |' + ' :-: |' * len(heads)]
    for kind in WRITTEN:
        there = kept(kind)
        lines.append(f'| {kind} | ' + ' | '.join('yes' if name in there else '-' for name in NAMES) + ' |')
    return '\n'.join(lines)


def test_docs_have_the_table():
    assert table() in DOCS.read_text(encoding='utf-8')


def test_comment_becomes_the_description_of_a_tiff():
    content = encode_picture(Picture(pixels(), meta=Metadata(comment=b'caption')), 'TIFF')
    assert tifffile.TiffFile(io.BytesIO(content)).pages[0].description == 'caption'


@pytest.mark.parametrize('scale', [0.5, 1, 2, 4])
def test_scale_keeps_the_size_of_the_print(scale):
    picture = resize_picture(Picture(pixels(), meta=everything()), scale)
    assert [round(value) for value in picture.meta.dpi] == [round(300 * scale), round(200 * scale)]
    again = decode_picture(encode_picture(picture, 'PNG'), 'x')
    assert says(again.meta)['exif'] == says(everything())['exif']


def test_other_programs_read_what_was_written():
    content = encode_picture(Picture(pixels(), meta=everything()), 'JPEG')
    image = Image.open(io.BytesIO(content))
    assert image.info['dpi'] == (300, 200) and image.info['photoshop'][0x0404] == IPTC and image.info['xmp'] == XMP
    image = Image.open(io.BytesIO(encode_picture(Picture(pixels(), meta=everything()), 'PNG')))
    assert image.text['Author'] == 'NASA' and image.text['Comment'] == 'Grüße' and image.info['xmp'] == XMP
    image = Image.open(io.BytesIO(encode_picture(Picture(pixels(), meta=everything()), 'TIFF')))
    assert image.info['dpi'] == (300, 200) and image.tag_v2[700] == XMP and bytes(image.tag_v2[33723]) == IPTC
    assert image.getexif().get_ifd(0x8769)[0x9003] == '1969:07:20 20:17:40'


def test_a_jpeg_that_says_no_size_gets_none():
    stream = io.BytesIO()
    Image.fromarray(pixels()).save(stream, 'JPEG', exif=exif())
    assert decode_picture(stream.getvalue(), 'x').meta.dpi is None


def test_blocks_too_long_for_a_jpeg_leave_the_photograph():
    long = Metadata(xmp=b'x' * 70_000, iptc=b'y' * 70_000, exif=exif())
    assert decode_picture(encode_picture(Picture(pixels(), meta=long), 'JPEG'), 'x').meta.exif
    again = decode_picture(encode_picture(Picture(pixels(), meta=long), 'PNG'), 'x').meta
    assert (again.xmp, again.iptc) == (long.xmp, long.iptc)


def test_avif_and_gif_say_what_they_can():
    stream = io.BytesIO()
    Image.fromarray(pixels()).convert('P').save(stream, 'GIF', comment=b'caption')
    assert decode_picture(stream.getvalue(), 'x').meta.comment == b'caption'
    if features.check('avif'):
        stream = io.BytesIO()
        Image.fromarray(pixels()).save(stream, 'AVIF', exif=exif(), xmp=XMP)
        assert decode_picture(stream.getvalue(), 'x').meta.xmp == XMP


def test_damaged_metadata_leaves_the_photograph():
    info = PngImagePlugin.PngInfo()
    info.add_text('Raw profile type iptc', '\niptc\n 5\nzz')
    stream = io.BytesIO()
    Image.fromarray(pixels()).save(stream, 'PNG', pnginfo=info, exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    picture = decode_picture(stream.getvalue(), 'x')
    for kind in ('PNG', 'TIFF', 'JPEG', 'WEBP', 'BMP'):
        decode_picture(encode_picture(resize_picture(picture, 2), kind), 'x')
