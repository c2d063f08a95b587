"""Any file becomes RGB uint8 or an error with its path; folder and LMDB give the same."""

import contextlib
import io
import json
import os
import pickle
import sys

import cv2
import lmdb
import numpy as np
import pytest
from PIL import Image, features

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import (
    ImageSource,
    UnreadableImageError,
    decode_image,
    list_images,
    probe_image,
    read_image,
    resize_square,
    write_image,
)


def picture(size=24, seed=0):
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def test_png_and_jpeg_are_rgb(tmp_path):
    image = np.zeros((16, 16, 3), np.uint8)
    image[..., 0] = 200
    for suffix, error in (('.png', 0), ('.jpg', 3)):
        write_image(tmp_path / f'眼 "x"{suffix}', image)
        assert np.abs(read_image(tmp_path / f'眼 "x"{suffix}').astype(int) - image).max() <= error


def test_links_are_followed_but_not_in_circles(tmp_path):
    for name in ('one', 'two', 'elsewhere'):
        (tmp_path / 'photos' / name).mkdir(parents=True)
        write_image(tmp_path / 'photos' / name / 'a.png', picture())
    (tmp_path / 'photos' / 'elsewhere').rename(tmp_path / 'elsewhere')
    (tmp_path / 'photos' / 'link').symlink_to(tmp_path / 'elsewhere')
    (tmp_path / 'photos' / 'one' / 'up').symlink_to(tmp_path / 'photos')
    (tmp_path / 'photos' / 'two' / 'up').symlink_to(tmp_path / 'photos')
    (tmp_path / 'photos' / 'itself.png').symlink_to(tmp_path / 'photos' / 'itself.png')
    assert list_images(tmp_path / 'photos') == ['itself.png', 'link/a.png', 'one/a.png', 'two/a.png']


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes here')
def test_a_pipe_is_no_image(tmp_path):
    os.mkfifo(tmp_path / 'pipe.png')
    with pytest.raises(UnreadableImageError, match=r'pipe\.png: no file'):
        read_image(tmp_path / 'pipe.png')


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_probing_any_piece_of_a_file_gives_a_size_or_the_error(suffix):
    whole = cv2.imencode(suffix, picture())[1].tobytes()
    assert probe_image(whole, 'x') == (24, 24)
    for start in range(40):
        for end in range(1, 40):
            with contextlib.suppress(UnreadableImageError):
                probe_image(whole[:start] + whole[-end:], 'x')


def test_a_jpeg_without_pixels_is_no_image():
    whole = cv2.imencode('.jpg', picture())[1].tobytes()
    exif = b'\xff\xe1' + (len(whole) + 2).to_bytes(2, 'big') + whole  # a camera's thumbnail is a whole JPEG
    for head in (whole[:2], whole[:2] + exif):
        assert probe_image(head + whole[2:], 'x') == (24, 24)
        with pytest.raises(UnreadableImageError, match=r'^x: '):
            probe_image(head + whole[2 : whole.index(b'\xff\xda')] + b'\xff\xd9', 'x')


@pytest.mark.parametrize('mode', ['L', 'LA', 'P', '1', 'RGBA', 'CMYK'])
def test_every_mode_becomes_rgb(mode):
    original = Image.fromarray(picture())
    form = 'JPEG' if mode == 'CMYK' else 'PNG'
    image = decode_image(encoded(original.convert(mode), form), 'x')
    assert image.shape == (24, 24, 3) and image.dtype == np.uint8
    expected = np.asarray(original.convert(mode).convert('RGB')).astype(int)
    assert np.abs(image - expected).mean() < (6 if mode == 'CMYK' else 1)


@pytest.mark.skipif(not features.check('avif'), reason='this Pillow has no AVIF')
def test_avif_is_read():
    image = decode_image(encoded(Image.fromarray(picture()), 'AVIF', quality=100, subsampling='4:4:4'), 'x')
    assert np.abs(image.astype(int) - picture()).mean() < 3


def heic():
    """A file made without registering the decoder with Pillow."""
    buffer = io.BytesIO()
    image = Image.fromarray(picture(64)[:32])
    pytest.importorskip('pillow_heif').from_pillow(image).save(buffer, quality=100, chroma='444')
    return buffer.getvalue()


def test_heic_is_read(monkeypatch):
    monkeypatch.delitem(Image.OPEN, 'HEIF', raising=False)  # other packages register it, too
    image = decode_image(heic(), 'x')
    assert image.shape == (32, 64, 3)
    assert np.abs(image.astype(int) - picture(64)[:32]).mean() < 3
    assert 'HEIF' not in Image.OPEN  # it would take AVIF over from Pillow


def test_heic_without_its_package_says_what_to_install(monkeypatch):
    content = heic()
    monkeypatch.setitem(sys.modules, 'pillow_heif', None)
    with pytest.raises(UnreadableImageError, match=r"^x\.heic: HEIC; `pip install 'mmrbgan\[heic\]'`"):
        decode_image(content, 'x.heic')


@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_scaled(channels):
    values = np.full((4, 4, channels), 257 * 100, np.uint16)
    assert (decode_image(cv2.imencode('.png', values)[1].tobytes(), 'x') == 100).all()


def test_transparent_pixels_are_white():
    assert (decode_image(encoded(Image.new('RGBA', (4, 4), (9, 9, 9, 0)), 'PNG'), 'x') == 255).all()


@pytest.mark.parametrize('form', ['JPEG', 'PNG'])
def test_exif_rotation_is_done(form):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new('RGB', (10, 20)), form, exif=exif)
    assert decode_image(content, 'x').shape == (10, 20, 3)


@pytest.mark.parametrize(
    ('content', 'reason'),
    [
        (b'', 'empty file'),
        (b'hello', 'not an image'),
        (encoded(Image.fromarray(picture(200)), 'JPEG')[:-200], 'truncated'),
        (encoded(Image.fromarray(picture(200)), 'PNG')[:-200], 'truncated'),
        (encoded(Image.new('1', (20000, 20000)), 'PNG'), 'too large'),
    ],
)
def test_unreadable_content_is_named(content, reason):
    with pytest.raises(UnreadableImageError, match=f'(?i)a/b.png: .*{reason}') as error:
        decode_image(content, 'a/b.png')
    assert '\n' not in str(error.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableImageError, match=r'gone.png'):
        read_image(tmp_path / 'gone.png')


def test_listing_is_sorted_recursive_and_without_hidden_files(tmp_path):
    for name in ('b.png', 'a.JPG', 'f.HEIC', 'g.avif', 'sub/c.png', '.hidden/d.png', '.e.png', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(tmp_path) == ['a.JPG', 'b.png', 'f.HEIC', 'g.avif', 'sub/c.png']


def test_missing_folder_and_empty_folder_name_the_option(tmp_path):
    with pytest.raises(UsageError, match='dataroot_gt: no folder'):
        ImageSource(tmp_path / 'gone', 'dataroot_gt')
    with pytest.raises(UsageError, match='dataroot_gt: no image'):
        ImageSource(tmp_path, 'dataroot_gt')


def test_basicsr_lmdb_is_read(tmp_path):
    image = picture()
    write_image(tmp_path / 'x.png', image)
    with lmdb.open(str(tmp_path / 'set.lmdb'), map_size=2**20) as environment, environment.begin(write=True) as writer:
        writer.put(b'a.b c', (tmp_path / 'x.png').read_bytes())
    (tmp_path / 'set.lmdb' / 'meta_info.txt').write_text('a.b c.png (24,24,3) 1\n')
    source = ImageSource(tmp_path / 'set.lmdb')
    assert source.names == ['a.b c.png'] and (source.read(0) == image).all()


def test_source_can_be_pickled_after_use(tmp_path):
    write_image(tmp_path / 'x.png', picture())
    with lmdb.open(str(tmp_path / 's.lmdb'), map_size=2**20) as environment, environment.begin(write=True) as writer:
        writer.put(b'00000000', (tmp_path / 'x.png').read_bytes())
    (tmp_path / 's.lmdb' / 'meta.json').write_text(json.dumps({'files': ['ä.b.png']}))
    source = ImageSource(tmp_path / 's.lmdb')
    before = source.read(0)
    assert (pickle.loads(pickle.dumps(source)).read(0) == before).all()


def test_damaged_lmdb_list_is_one_line(tmp_path):
    (tmp_path / 's.lmdb').mkdir()
    (tmp_path / 's.lmdb' / 'meta.json').write_text('{')
    with pytest.raises(UsageError, match='damaged'):
        ImageSource(tmp_path / 's.lmdb')


def test_only_square_images_are_resized():
    assert resize_square(picture(24), 8).shape == (8, 8, 3)
    with pytest.raises(UnreadableImageError, match='20x10 is not square'):
        resize_square(np.zeros((10, 20, 3), np.uint8), 8)
