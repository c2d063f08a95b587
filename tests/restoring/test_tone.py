"""Neutral stays neutral, exactly, and a toned print keeps its tone."""

import io

import numpy as np
import pytest
from PIL import Image
from tiny_restoring import photograph, stand_in, tiny_weights

from mmrbgan import Restorer, Settings
from mmrbgan.restoring.files.photo_file import LUMA
from mmrbgan.restoring.tone import keep_tone, tone_of


@pytest.fixture(scope='module')
def restorer(tmp_path_factory):
    return Restorer(tiny_weights(tmp_path_factory.mktemp('weights')), device='cpu', detector=stand_in)


def grey(dtype=np.uint8):
    return np.repeat(photograph(dtype)[:, :, :1], 3, 2)


def sepia(image):
    """Tone a grey photograph (h, w, 3) as a print is toned: warm in the middle, neutral at both ends."""
    luma = image[:, :, :1] / 255
    tint = np.array([0.12, 0.02, -0.14]) * 4 * luma * (1 - luma)
    return np.rint((luma + tint).clip(0, 1) * 255).astype(np.uint8)


def jpeg(image, quality):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'JPEG', quality=quality)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())))


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('settings', [{}, {'scale': 2}, {'scale': 0.7}, {'detail': 'replace'}, {'strength': 0.3}])
def test_equal_channels_come_out_equal(restorer, dtype, settings):
    result = restorer.restore(grey(dtype), Settings(**settings))
    pixels = result.picture.pixels
    assert result.changed and len(result.restored_faces) == 2
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 1]) and np.array_equal(pixels[:, :, 1], pixels[:, :, 2])


def test_a_grey_face_beside_colours_stays_grey(restorer):
    image = grey()
    image[-4:, :, 0] = 255  # no face lies there
    pixels = restorer.restore(image).picture.pixels[:-4]
    assert not np.array_equal(pixels, image[:-4])
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 1]) and np.array_equal(pixels[:, :, 1], pixels[:, :, 2])


def drift(before, after):
    """How far the colour at each brightness moves, in levels: root mean square over the pixels that changed."""
    luma = np.rint(before @ LUMA).astype(int).ravel()
    chroma = (before - (before @ LUMA)[:, :, None]).reshape(-1, 3)
    count = np.maximum(np.bincount(luma, minlength=256), 1)
    curve = np.stack([np.bincount(luma, one, 256) / count for one in chroma.T], 1)
    known = np.bincount(luma, minlength=256) > 20
    changed = np.any(before != after, 2) & known[np.rint(after @ LUMA).astype(int)]
    found = (after - (after @ LUMA)[:, :, None])[changed]
    return float(np.sqrt(((found - curve[np.rint(after @ LUMA).astype(int)[changed]]) ** 2).mean()))


@pytest.mark.parametrize('quality', [50, 75, 95])
def test_a_toned_print_keeps_its_tone(restorer, quality):
    image = jpeg(sepia(grey()), quality)
    kept, free = (restorer.restore(image, Settings(color=color)).picture.pixels for color in ('keep', 'free'))
    assert drift(image, kept) < 2.5
    assert drift(image, free) > 5  # this network does draw other colours


def test_a_colour_photograph_is_left_alone():
    image = photograph().astype(np.float32) / 255
    other = np.roll(image, 3, 1)
    assert tone_of(image) is None and keep_tone(image, other) is other


def test_tone_of_a_flat_picture_is_its_colour():
    image = np.full((8, 8, 3), (0.5, 0.4, 0.3), np.float32)
    np.testing.assert_allclose(keep_tone(image, image), image, atol=1e-6)
