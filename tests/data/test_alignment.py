"""Alignment is a similarity, agrees with OpenCV, and its warps are exact to a small part of a pixel."""

import cv2
import numpy as np
import pytest

from mmrbgan_data.alignment import (
    TEMPLATE_512,
    alignment_matrix,
    apply,
    compose,
    five_points,
    invert,
    resize_matrix,
    scale_of,
    similarity,
    template,
    warp,
)


def matrix_of(scale, degrees, shift):
    turn = np.deg2rad(degrees)
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[a, -b, shift[0]], [b, a, shift[1]]])


def ramps(height, width):
    """A picture whose channels are its own x and y, so that every value says where it came from."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.dstack([x, y])


def test_similarity_is_found_again():
    matrix = matrix_of(0.37, 25, (12, -7))
    np.testing.assert_allclose(similarity(TEMPLATE_512, apply(matrix, TEMPLATE_512)), matrix, atol=1e-9)


def test_similarity_has_least_squares():
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    best = similarity(source, target)

    def error(matrix):
        return ((apply(matrix, source) - target) ** 2).sum()

    for scale, degrees, shift in [(1.001, 0, (0, 0)), (1, 0.1, (0, 0)), (1, 0, (1e-3, 0)), (1, 0, (0, -1e-3))]:
        assert error(compose(matrix_of(scale, degrees, shift), best)) > error(best)


def test_points_that_fall_together_are_refused():
    with pytest.raises(ValueError, match='fall together'):
        similarity(np.ones((5, 2)), TEMPLATE_512)


def test_five_points_of_68():
    points = np.arange(136, dtype=float).reshape(68, 2)
    np.testing.assert_array_equal(five_points(points)[2:], points[[30, 48, 54]])
    np.testing.assert_array_equal(five_points(points)[0], points[36:42].mean(0))


def test_five_points_stay_as_they_are():
    np.testing.assert_array_equal(five_points(TEMPLATE_512), TEMPLATE_512)


def test_aligned_face_has_the_template_at_any_size():
    points = apply(matrix_of(0.2, -30, (300, 200)), TEMPLATE_512)
    np.testing.assert_allclose(apply(alignment_matrix(points, 128), points), template(128), atol=1e-9)


def test_template_scales_about_the_corner_of_the_image():
    np.testing.assert_allclose(template(256) + 0.5, (TEMPLATE_512 + 0.5) / 2)


@pytest.mark.parametrize('shape', [(64, 96), (33, 50)])
def test_resize_matrix_is_what_opencv_does(shape):
    big = cv2.resize(ramps(*shape), (shape[1] * 4, shape[0] * 4), interpolation=cv2.INTER_LINEAR)
    y, x = 70, 101
    np.testing.assert_allclose(apply(invert(resize_matrix(4)), np.array([[x, y]], float))[0], big[y, x], atol=1e-3)


@pytest.mark.parametrize('scale', [0.13, 0.4, 0.9, 1.0, 2.5])
@pytest.mark.parametrize('degrees', [0, 17, -140])
def test_warp_is_exact_at_every_scale(scale, degrees):
    centre = np.array([400.0, 300.0])
    matrix = matrix_of(scale, degrees, (0, 0))
    matrix[:, 2] = 31.5 - matrix[:, :2] @ centre
    seen = warp(ramps(600, 800), matrix, (64, 64))
    y, x = np.mgrid[:64, :64]
    true = apply(invert(matrix), np.column_stack([x.ravel(), y.ravel()]).astype(float)).reshape(64, 64, 2)
    inside = ((true > 12 / scale) & (true < np.array([799, 599]) - 12 / scale)).all(2)
    assert inside.sum() > 500
    assert np.abs(seen - true)[inside].mean() * scale < 0.03
    assert abs((seen - true)[inside].mean()) * scale < 0.02


def test_warp_averages_when_it_shrinks():
    checks = (np.indices((256, 256)).sum(0) % 2).astype(np.float32)
    small = warp(checks, resize_matrix(1 / 8), (32, 32))
    assert np.abs(small[4:-4, 4:-4] - 0.5).max() < 0.05


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.float32])
def test_identity_warp_changes_nothing(dtype):
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(dtype)
    np.testing.assert_allclose(warp(image, resize_matrix(1), (30, 20)), image, rtol=1e-6)


def test_inverse_undoes():
    matrix = matrix_of(0.37, 25, (12, -7))
    np.testing.assert_allclose(compose(invert(matrix), matrix), resize_matrix(1), atol=1e-12)
    assert scale_of(matrix) == pytest.approx(0.37)


@pytest.mark.parametrize('far', [1e3, 1e6])
def test_warp_of_a_face_outside_its_photograph_ends(far):
    """OpenCV's reflection would step through the picture pixel by pixel, for minutes."""
    seen = warp(np.full((300, 400, 3), 7, np.uint8), np.array([[1.0, 0, far], [0, 1.0, far]]), (512, 512))
    assert (seen == 7).all()
