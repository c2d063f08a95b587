"""Photographs keep their bits, alpha, profile, EXIF and pixels through ``mmrbgan.restoring.files.photo_file``."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, features

from mmrbgan.restoring.files.photo_file import decode_picture, encode_picture, output_format, resize_picture
from mmrbgan_data.images import UnreadableImageError

ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def noise(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def save(array, file_format, **options):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, file_format, **options)
    return stream.getvalue()


def tiff(array, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, array, metadata=None, **options)
    return stream.getvalue()


KINDS = [('PNG', 0), ('PNG', 3), ('PNG', 4), ('TIFF', 0), ('TIFF', 3), ('TIFF', 4), ('BMP', 0), ('BMP', 3)]


@pytest.mark.parametrize(('file_format', 'channels'), [*KINDS, ('WEBP', 3), ('WEBP', 4)])
def test_8_bits_come_back(file_format, channels):
    array = noise(5, 7, channels) if channels else noise(5, 7)
    options = {'lossless': True, 'exact': True} if file_format == 'WEBP' else {}
    picture = decode_picture(save(array, file_format, **options), 'x')
    again = Image.open(io.BytesIO(encode_picture(picture, output_format(picture, 'auto'))))
    np.testing.assert_array_equal(np.asarray(again), array)


@pytest.mark.parametrize('suffix', ['png', 'tiff'])
@pytest.mark.parametrize('channels', [0, 3, 4])
def test_16_bits_come_back(suffix, channels):
    array = noise(5, 7, channels, dtype=np.uint16) if channels else noise(5, 7, dtype=np.uint16)
    content = cv2.imencode(f'.{suffix}', array)[1].tobytes()
    picture = decode_picture(content, 'x')
    assert picture.pixels.dtype == np.uint16
    encoded = np.frombuffer(encode_picture(picture, output_format(picture, 'auto')), np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED), array)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_is_done_as_pillow_does_it(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, 'a maker'
    content = save(noise(5, 7, 3), 'PNG', exif=exif)
    picture = decode_picture(content, 'x')
    np.testing.assert_array_equal(picture.pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content)))))
    written = Image.open(io.BytesIO(encode_picture(picture, 'PNG'))).getexif()
    assert (written[0x0112], written[0x010F]) == (1, 'a maker')


@pytest.mark.parametrize('file_format', ['PNG', 'TIFF', 'JPEG', 'WEBP'])
def test_profile_survives(file_format):
    picture = decode_picture(save(noise(5, 7, 3), file_format, icc_profile=ICC), 'x')
    assert Image.open(io.BytesIO(encode_picture(picture, file_format))).info['icc_profile'] == ICC


@pytest.mark.parametrize('file_format', ['PNG', 'TIFF'])
def test_profile_survives_16_bits(file_format):
    picture = decode_picture(save(noise(5, 7, 3), 'PNG', icc_profile=ICC), 'x')
    deep = type(picture)(picture.pixels.astype(np.uint16) * 257, icc=ICC)
    again = decode_picture(encode_picture(deep, file_format), 'x')
    assert again.icc == ICC
    np.testing.assert_array_equal(again.pixels, deep.pixels)


def test_jpeg_is_written_as_png_so_that_nothing_is_lost():
    assert output_format(decode_picture(save(noise(8, 8, 3), 'JPEG'), 'x'), 'auto') == 'PNG'


def test_palette_with_transparency_becomes_alpha():
    image = Image.fromarray(noise(5, 7, 4)).convert('P')
    stream = io.BytesIO()
    image.save(stream, 'PNG', transparency=0)
    assert decode_picture(stream.getvalue(), 'x').alpha is not None


def test_cmyk_becomes_rgb_without_its_profile():
    stream = io.BytesIO()
    Image.fromarray(noise(8, 8, 4), 'CMYK').save(stream, 'JPEG', icc_profile=ICC)
    assert decode_picture(stream.getvalue(), 'x').icc is None


@pytest.mark.parametrize('scale', [2, 4])
def test_alpha_grows_with_the_picture(scale):
    picture = resize_picture(decode_picture(save(noise(5, 7, 4), 'PNG'), 'x'), scale)
    assert picture.pixels.shape[:2] == picture.alpha.shape == (5 * scale, 7 * scale)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'not a picture',
        save(noise(64, 64, 3), 'PNG')[:-200],
        save(noise(64, 64, 3), 'JPEG')[:-200],
        b'GIF89a' + bytes(20),
        cv2.imencode('.tiff', noise(8, 8).astype(np.float32))[1].tobytes(),
    ],
    ids=['empty', 'text', 'cut png', 'cut jpeg', 'cut gif', 'float tiff'],
)
def test_bad_file_is_one_line_with_its_name(content):
    with pytest.raises(UnreadableImageError, match=r'^photo: [^\n]+$'):
        decode_picture(content, 'photo')


@pytest.mark.parametrize('file_format', ['GIF', 'PNG', 'WEBP', 'AVIF'])
def test_animation_is_refused(file_format):
    if file_format == 'AVIF' and not features.check('avif'):
        pytest.skip('this Pillow has no AVIF')
    frames = [Image.fromarray(noise(8, 8, 3) * k) for k in (1, 3)]
    stream = io.BytesIO()
    frames[0].save(stream, file_format, save_all=True, append_images=frames[1:])
    with pytest.raises(UnreadableImageError, match='animated'):
        decode_picture(stream.getvalue(), 'photo')


def heic(*images):
    file = pytest.importorskip('pillow_heif').HeifFile()
    for image in images:
        file.add_from_pillow(Image.fromarray(image))
    stream = io.BytesIO()
    file.save(stream)
    return stream.getvalue()


def test_heic_is_read_and_written_as_png():
    picture = decode_picture(heic(noise(64, 48, 3)), 'photo')
    assert picture.pixels.shape == (64, 48, 3) and output_format(picture, 'auto') == 'PNG'


def test_heic_of_several_pictures_is_refused():
    with pytest.raises(UnreadableImageError, match=r'^photo: several pages'):
        decode_picture(heic(noise(64, 64, 3), noise(64, 64, 3)), 'photo')


@pytest.mark.parametrize(
    'options',
    [{'photometric': 'rgb', 'planarconfig': 'separate'}, {'photometric': 'miniswhite'}],
    ids=['planes', 'white is zero'],
)
def test_16_bit_tiff_that_would_come_out_wrong_is_refused(options):
    array = noise(3, 5, 7, dtype=np.uint16) if 'planarconfig' in options else noise(5, 7, dtype=np.uint16)
    with pytest.raises(UnreadableImageError, match=r'^photo: 16 bits in an unusual form; save it as plain 16-bit PNG$'):
        decode_picture(tiff(array, **options), 'photo')


def test_tiff_of_several_pages_is_refused():
    with pytest.raises(UnreadableImageError, match=r'^photo: several pages; save them as single pictures$'):
        decode_picture(tiff(noise(2, 5, 7), photometric='minisblack'), 'photo')


def test_bomb_is_refused_by_its_header_alone():
    content = bytearray(save(noise(8, 8, 3), 'PNG'))
    import struct
    import zlib

    content[16:24] = struct.pack('>II', 60000, 60000)
    content[29:33] = struct.pack('>I', zlib.crc32(bytes(content[12:29])))
    with pytest.raises(UnreadableImageError, match='too large'):
        decode_picture(bytes(content), 'photo')


def test_too_large_a_scale_is_refused():
    picture = decode_picture(save(noise(64, 64, 3), 'PNG'), 'x')
    with pytest.raises(UnreadableImageError, match='smaller scale'):
        resize_picture(picture, 1000)
