"""Faces come back where they were: no shift at any scale, no seam, and not a bit changes elsewhere."""

import cv2
import numpy as np
import pytest
import torch

from mmrbgan.restoring.masks import choose_mask, ellipse_mask, load_parsenet, parsenet_mask
from mmrbgan.restoring.paste import FaceChange, keep_colour, paste_faces
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import TEMPLATE_512, alignment_matrix, apply, resize_matrix, warp

# One step between neighbouring pixels, in levels of 255, that a face 40 levels too bright may leave at its edge.
SEAM_BOUND = 1.5
SHIFT_BOUND = 0.05  # pixels


def photograph(height=360, width=480, dtype=np.uint8):
    """Smooth random texture with detail at all scales above two pixels."""
    rng = np.random.default_rng(0)
    image = sum(cv2.GaussianBlur(rng.normal(size=(height, width, 3)), (0, 0), s) * s for s in (1.5, 4, 16))
    image = (image - image.min()) / (image.max() - image.min())
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)


def landmarks(side=150, degrees=20, centre=(250, 190)):
    """Five points of a face whose aligned crop would be ``side`` pixels wide."""
    turn, scale = np.deg2rad(degrees), side / 512
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    matrix = np.array([[a, -b, 0.0], [b, a, 0.0]])
    return apply(matrix, TEMPLATE_512 - 256) + centre


def change(image, points, size, restore=lambda crop: crop):
    matrix = alignment_matrix(points, size)
    crop = warp(image, matrix, (size, size)).astype(np.float32) / np.iinfo(image.dtype).max
    return FaceChange(matrix, crop, restore(crop).astype(np.float32), ellipse_mask(crop, points, matrix))


def measured_shift(reference, moved, weight):
    """Shift (x, y) of ``moved`` against ``reference`` by one step of Lucas and Kanade, all pixels together."""
    reference, moved = (cv2.GaussianBlur(each.astype(float).mean(2), (0, 0), 2) for each in (reference, moved))
    gy, gx = np.gradient(reference)
    a = np.array([[(weight * gx * gx).sum(), (weight * gx * gy).sum()], [0, (weight * gy * gy).sum()]])
    a[1, 0] = a[0, 1]
    difference = weight * (moved - reference)
    return np.linalg.solve(a, -np.array([(difference * gx).sum(), (difference * gy).sum()]))


def face_weight(item, shape, scale):
    alone = paste_faces(np.zeros(shape, np.uint8), [with_white(item)], (shape[1] // scale, shape[0] // scale), False)
    return (alone[:, :, 0] > 250).astype(float)


def with_white(item):
    return FaceChange(item.matrix, item.before * 0, item.before * 0 + 1, item.mask)


def test_shift_is_measured_rightly():
    image = photograph()
    moved = warp(image, np.array([[1, 0, 0.1], [0, 1, -0.07]]), (480, 360))
    np.testing.assert_allclose(measured_shift(image, moved, np.ones((360, 480))), [0.1, -0.07], atol=0.02)


@pytest.mark.parametrize('scale', [1, 2, 4])
@pytest.mark.parametrize(('side', 'size'), [(150, 512), (150, 128), (300, 128)])
def test_identity_lies_exactly_where_it_was(scale, side, size):
    image = photograph()
    item = change(image, landmarks(side), size)
    background = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pasted = paste_faces(background, [item], (480, 360), keep_detail=False)
    assert (pasted != background).any()
    weight = face_weight(item, background.shape, scale)
    # The network's own blur has to be in both pictures, or the fit would see it as noise.
    sigma = max(1.0, scale * side / size)
    reference, moved = (cv2.GaussianBlur(each.astype(np.float32), (0, 0), sigma) for each in (background, pasted))
    assert np.abs(measured_shift(reference, moved, weight)).max() < SHIFT_BOUND


@pytest.mark.parametrize('scale', [1, 2, 4])
@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_identity_changes_no_bit_when_detail_is_kept(scale, dtype):
    image = photograph(dtype=dtype)
    background = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pasted = paste_faces(background, [change(image, landmarks(), 128)], (480, 360))
    np.testing.assert_array_equal(pasted, background)


@pytest.mark.parametrize('keep_detail', [True, False])
def test_pixels_outside_the_crop_stay_byte_identical(keep_detail):
    image, points = photograph(), landmarks()
    item = change(image, points, 128, lambda crop: 1 - crop)
    pasted = paste_faces(image, [item], (480, 360), keep_detail)
    covered = warp(np.ones((128, 128), np.float32), np.linalg.inv(np.vstack([item.matrix, [0, 0, 1]]))[:2],
                   (480, 360), cv2.BORDER_CONSTANT) > 0  # fmt: skip
    np.testing.assert_array_equal(pasted[~covered], image[~covered])
    assert np.abs(pasted.astype(int) - image)[190, 250].max() > 10


def seam(image, pasted):
    """The largest step between neighbours in the change that pasting made, in levels."""
    made = pasted.astype(float) - image
    return max(np.abs(np.diff(made, axis=axis)).max() for axis in (0, 1))


def grey(value):
    return np.full((360, 480, 3), value, np.uint16)  # 16 bits, so that rounding to levels makes no steps


@pytest.mark.parametrize('keep_detail', [True, False])
def test_seam_of_a_face_that_came_out_too_bright(keep_detail):
    image = grey(100 * 257)
    item = change(image, landmarks(300, 0), 256, lambda crop: crop + 40 / 255)
    pasted = paste_faces(image, [item], (480, 360), keep_detail)
    assert pasted.max() == 140 * 257
    assert seam(image, pasted) / 257 < SEAM_BOUND


def test_kept_colour_leaves_no_seam_at_all():
    image = grey(100 * 257)
    item = change(image, landmarks(300, 0), 256, lambda crop: keep_colour(crop, crop + 40 / 255))
    assert seam(image, paste_faces(image, [item], (480, 360))) / 257 < 0.05


def test_kept_colour_keeps_the_mean_and_lets_detail_through():
    crop = warp(photograph(), alignment_matrix(landmarks(), 128), (128, 128)).astype(np.float32) / 255
    stripes = 0.1 * np.sin(np.arange(128) * 1.5)[:, None, None].astype(np.float32)
    kept = keep_colour(crop, crop + 0.2 + stripes)
    np.testing.assert_allclose(kept[24:-24], (crop + stripes)[24:-24], atol=0.02)


def test_half_strength_is_half_way():
    image = grey(100 * 257)
    item = change(image, landmarks(), 128, lambda crop: crop + 40 / 255)
    half = FaceChange(item.matrix, item.before, item.after, item.mask, 0.5)
    full, middle = (paste_faces(image, [each], (480, 360)).astype(float) - image for each in (item, half))
    np.testing.assert_allclose(middle, full / 2, atol=1)


def test_background_is_not_written_to():
    image = photograph()
    before = image.copy()
    paste_faces(image, [change(image, landmarks(), 128, lambda crop: 1 - crop)], (480, 360))
    np.testing.assert_array_equal(image, before)


def test_face_that_lies_outside_is_no_error():
    image = photograph()
    item = change(image, landmarks(centre=(-900, -900)), 64, lambda crop: 1 - crop)
    np.testing.assert_array_equal(paste_faces(image, [item], (480, 360)), image)


@pytest.mark.parametrize('side', [64, 256])
@pytest.mark.parametrize('count', [5, 68])
def test_ellipse_is_whole_on_the_face_and_gone_at_the_edge(side, count):
    points = TEMPLATE_512 if count == 5 else np.random.default_rng(0).uniform((130, 200), (380, 440), (68, 2))
    mask = ellipse_mask(np.zeros((side, side, 3)), points, resize_matrix(side / 512))
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert edge.max() == 0
    assert mask[side * 320 // 512, side // 2] == 1
    assert 0.15 < mask.mean() < 0.7


def test_parsenet_mask_follows_its_classes(monkeypatch):
    class Halves(torch.nn.Linear):
        def forward(self, batch):
            logits = torch.zeros(1, 19, 512, 512)
            logits[:, 1, :, :256] = 1
            return logits, None

    mask = parsenet_mask(Halves(1, 1), np.zeros((128, 128, 3), np.float32), TEMPLATE_512, resize_matrix(0.25))
    assert mask[64, 32] > 0.99
    assert mask[64, 100] < 0.01
    assert mask[0].max() == 0


def test_parsenet_file_of_the_published_layout_loads(tmp_path):
    from facexlib.parsing.parsenet import ParseNet

    with torch.device('meta'):
        keys = ParseNet(in_size=512, out_size=512, parsing_ch=19).state_dict()
    torch.save({key: torch.ones(value.shape) for key, value in keys.items()}, tmp_path / 'parsing_parsenet.pth')
    loaded = load_parsenet(tmp_path / 'parsing_parsenet.pth')
    assert all((value == 1).all() for value in loaded.state_dict().values())


def test_other_weights_are_refused_as_parsenet(tmp_path):
    torch.save({'weight': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UsageError, match='not weights of this ParseNet'):
        load_parsenet(tmp_path / 'other.pth')


def test_auto_mask_without_weights_is_the_ellipse(monkeypatch, tmp_path):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    assert choose_mask('auto') is ellipse_mask


def test_unknown_mask_is_refused():
    with pytest.raises(UsageError, match='--mask square: known are'):
        choose_mask('square')
