"""Photographs keep their bits, alpha, profile, EXIF and pixels through ``mmrbgan.restoring.files.photo_file``."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, ImageOps, features

from mmrbgan.restoring.files.photo_file import decode_picture, encode_picture, output_format, resize_picture
from mmrbgan_data.images import UnreadableImageError, decode_image

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
    deep = type(picture)(picture.pixels.astype(np.uint16) * 257, meta=picture.meta)
    again = decode_picture(encode_picture(deep, file_format), 'x')
    assert again.meta.icc == ICC
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
    assert decode_picture(stream.getvalue(), 'x').meta.icc is None


@pytest.mark.parametrize('scale', [2, 4])
def test_alpha_grows_with_the_picture(scale):
    picture = resize_picture(decode_picture(save(noise(5, 7, 4), 'PNG'), 'x'), scale)
    assert picture.pixels.shape[:2] == picture.alpha.shape == (5 * scale, 7 * scale)


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'not a picture',
        save(noise(64, 64, 3), 'PNG')[:50],
        save(noise(64, 64, 3), 'JPEG')[:300],
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


LAYOUTS = {
    'grey': {'photometric': 'minisblack'},
    'white is zero': {'photometric': 'miniswhite'},
    'RGB': {'photometric': 'rgb'},
    'RGBA': {'photometric': 'rgb', 'extrasamples': ['unassalpha']},
    'planes': {'photometric': 'rgb', 'planarconfig': 'separate'},
    'big endian': {'photometric': 'rgb', 'byteorder': '>'},
    'deflated': {'photometric': 'rgb', 'compression': 'zlib'},
}


@pytest.mark.parametrize('dtype', [np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize('layout', LAYOUTS)
def test_deep_tiff_is_read(layout, dtype):
    channels = {'RGBA': 4, 'grey': 0, 'white is zero': 0}.get(layout, 3)
    array = noise(5, 7, channels, dtype=np.uint16) if channels else noise(5, 7, dtype=np.uint16)
    stored = array if dtype is np.uint16 else (array / 65535).astype(dtype)
    stored = np.moveaxis(stored, 2, 0) if layout == 'planes' else stored
    picture = decode_picture(tiff(stored, **LAYOUTS[layout]), 'photo')
    wanted = np.atleast_3d(65535 - array if layout == 'white is zero' else array)
    error = np.abs(picture.pixels.astype(int) - wanted[:, :, :3]).max()
    assert error <= (16 if dtype is np.float16 else 0)
    assert (picture.alpha is not None) == (channels == 4) and picture.grey == (channels == 0)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_tiff_is_turned_upright(orientation, dtype):
    array = noise(5, 7, 3)
    stored = {np.uint8: array, np.uint16: array.astype(np.uint16) * 257}.get(dtype, (array / 255).astype(np.float32))
    picture = decode_picture(tiff(stored, photometric='rgb', extratags=[(274, 3, 1, orientation, True)]), 'photo')
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(save(array, 'PNG', exif=exif)))))
    np.testing.assert_array_equal(picture.pixels // (1 if dtype is np.uint8 else 257), upright)


REFUSED = {
    '32-bit floating-point RGB from 0 to 2; scale it': (np.full((4, 4, 3), 2, np.float32), {'photometric': 'rgb'}),
    '32-bit floating-point grey from nan to nan': (np.full((4, 4), np.nan, np.float32), {'photometric': 'minisblack'}),
    '16-bit CMYK is not read': (noise(4, 4, 4, dtype=np.uint16), {'photometric': 'separated'}),
    '16-bit LAB is not read': (noise(4, 4, 3, dtype=np.uint16), {'photometric': 'cielab'}),
    '8-bit LAB is not read': (noise(4, 4, 3), {'photometric': 'cielab'}),
    '16-bit signed grey is not read': (noise(4, 4).astype(np.int16), {'photometric': 'minisblack'}),
    '32-bit grey is not read': (noise(4, 4).astype(np.uint32), {'photometric': 'minisblack'}),
    '32-bit RGB is not read': (noise(4, 4, 3).astype(np.uint32), {'photometric': 'rgb'}),
}


@pytest.mark.parametrize('reason', REFUSED)
def test_other_numbers_and_colours_are_refused_by_name(reason, capfd):
    array, options = REFUSED[reason]
    with pytest.raises(UnreadableImageError, match=f'^photo: .*{reason}'):
        decode_picture(tiff(array, **options), 'photo')
    assert capfd.readouterr() == ('', '')  # nor does OpenCV add a line


def pages(*kinds):
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for kind in kinds:
            side = 4 if kind else 8
            array = np.full((side, side), 100 + kind, np.uint8)
            writer.write(array, photometric='minisblack', extratags=[(254, 4, 1, kind, True)], metadata=None)
    return stream.getvalue()


@pytest.mark.parametrize('kinds', [(0, 1), (1, 0), (0, 4), (0, 1, 5, 4)])
def test_reduced_and_mask_pages_are_ignored(kinds):
    assert decode_picture(pages(*kinds), 'photo').pixels.tolist() == np.full((8, 8, 3), 100).tolist()


@pytest.mark.parametrize('content', [pages(1), pages(1, 1), b'II*\0\x10\0\0\0CR\2\0' + pages(0)[12:]])
def test_previews_of_camera_raw_files_are_no_photographs(content):
    with pytest.raises(UnreadableImageError, match=r'^photo: '):
        decode_picture(content, 'photo')


def photograph(height=64, width=64):
    """Smooth and bright everywhere, as JPEG likes it."""
    y, x = np.mgrid[:height, :width]
    return np.stack([120 + x, 120 + y, 150 + (x + y) // 3], 2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize('options', [{}, {'progressive': True}, {'subsampling': 2}, {'restart_marker_rows': 1}])
def test_jpeg_without_end_marker_is_complete(options):
    content = save(photograph(), 'JPEG', **options)
    whole, cut = (decode_picture(each, 'photo') for each in (content, content[:-2]))
    np.testing.assert_array_equal(cut.pixels, whole.pixels)
    assert cut.warning is None


@pytest.mark.parametrize('share', [0.3, 0.5, 0.9])
@pytest.mark.parametrize('file_format', ['JPEG', 'PNG', 'BMP'])
def test_what_is_there_of_a_cut_file_is_read_and_the_rest_named(file_format, share):
    image = noise(160, 160, 3)
    content = save(image, file_format)
    picture = decode_picture(content[: int(len(content) * share)], 'photo')
    row = int(picture.warning.split('below row ')[1].split()[0])
    if file_format == 'BMP':  # stored from below
        return
    assert abs(row - 160 * share) < 24
    whole = decode_picture(content, 'x').pixels
    np.testing.assert_array_equal(picture.pixels[: row - 17], whole[: row - 17])
    assert not np.array_equal(picture.pixels[row:], whole[row:])


def test_progressive_jpeg_cut_off_says_what_is_missing():
    content = save(noise(64, 64, 3), 'JPEG', progressive=True)
    assert decode_picture(content[: len(content) * 3 // 4], 'photo').warning == 'cut off: finer detail is missing'


def test_training_stays_strict():
    content = save(photograph(), 'JPEG')
    for cut in (content[:-2], content[: len(content) // 2]):
        with pytest.raises(UnreadableImageError):
            decode_image(cut, 'photo')


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


DEEP_PNG = cv2.imencode('.png', np.random.default_rng(0).integers(0, 65536, (40, 30, 3), np.uint16))[1].tobytes()


@pytest.mark.parametrize(
    'content',
    [
        DEEP_PNG[: len(DEEP_PNG) // 2],
        DEEP_PNG[:-12],
        DEEP_PNG[:2000] + b'\0\xff\0' + DEEP_PNG[2003:],
        DEEP_PNG[:16] + struct.pack('>I', 31) + DEEP_PNG[20:29]
        + struct.pack('>I', zlib.crc32(DEEP_PNG[12:16] + struct.pack('>I', 31) + DEEP_PNG[20:29])) + DEEP_PNG[33:],
    ],
    ids=['half', 'no end', 'damaged', 'another width'],
)  # fmt: skip
def test_a_damaged_png_of_16_bits_is_refused_in_one_line(content, capfd):
    with pytest.raises(UnreadableImageError, match='cut off or damaged'):
        decode_picture(content, 'deep.png')
    assert capfd.readouterr().err == ''


def test_a_whole_png_of_16_bits_is_read(capfd):
    assert decode_picture(DEEP_PNG, 'deep.png').pixels.dtype == np.uint16


def test_opencv_says_nothing_of_its_own_on_a_damaged_tiff(capfd):
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((40, 30), np.uint16)).save(buffer, 'TIFF')
    with pytest.raises(UnreadableImageError, match='damaged'):
        decode_picture(buffer.getvalue()[:-7], 'deep.tif')
    assert capfd.readouterr().err == ''
