"""Eq. 17: each step by hand, ranges kept, parameters recorded and repeatable."""

import dataclasses

import cv2
import numpy as np
import pytest

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_data import degradation as d

NOTHING = d.Degradation(
    kernel=None,
    sigma_x=1,
    sigma_y=1,
    angle=0,
    length=9,
    bend=0,
    downscale=1,
    resize='area',
    noise=0,
    noise_seed=0,
    quality=None,
)


def image(size=64):
    small = np.random.default_rng(0).random((8, 8, 3), np.float32)
    return np.clip(cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def pixels(size=64):
    return d.to_uint8(image(size))


def drawn(count=300, **options):
    chosen = d.DegradationOptions(**options)
    return [d.draw_degradation(chosen, np.random.default_rng(seed)) for seed in range(count)]


def test_paper_ranges_are_the_defaults_and_are_covered():
    draws = drawn()
    assert d.DegradationOptions().downscale == (0.4, 8)
    for name, low, high in (('sigma_x', 0.1, 10), ('downscale', 0.4, 8), ('noise', 0, 25), ('quality', 5, 50)):
        values = [getattr(draw, name) for draw in draws]
        assert low <= min(values) < low + 0.1 * (high - low) and high - 0.1 * (high - low) < max(values) <= high
    assert {draw.kernel for draw in draws} == {'isotropic', 'anisotropic', 'motion'}
    assert {draw.resize for draw in draws} == {'area', 'bilinear', 'bicubic'}
    assert {type(draw.quality) for draw in draws} == {int}


NOTHING = d.Degradation(None, 1.0, 1.0, 0.0, 9.0, 0.0, 1.0, 'area', 0.0, 0, None)


@pytest.mark.parametrize('step', [{'kernel': 'motion'}, {'downscale': 4.0}, {'noise': 20.0}, {'quality': 10}], ids=str)
def test_every_step_of_the_degradation_is_done(step):
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8), (64, 64))
    assert np.array_equal(d.degrade(image, NOTHING), image)
    assert not np.array_equal(d.degrade(image, dataclasses.replace(NOTHING, **step)), image)


def test_one_option_does_not_shift_the_others():
    plain, without = drawn(20), drawn(20, kernels=(), jpeg=None)
    assert [draw.downscale for draw in plain] == [draw.downscale for draw in without]
    assert {(draw.kernel, draw.quality) for draw in without} == {(None, None)}


def test_fixed_values_are_possible():
    assert {(draw.downscale, draw.noise) for draw in drawn(5, downscale=(4, 4), noise=(0, 0))} == {(4.0, 0.0)}


@pytest.mark.parametrize(
    'options',
    [
        {'noise': [3, 1]},
        {'downscale': [0, 1]},
        {'kernel_size': 40},
        {'resizes': []},
        {'kernels': ['sinc']},
        {'jpeg': [5.5, 9]},
    ],
)
def test_wrong_ranges_are_refused(options):
    with pytest.raises(UsageError, match='degradation'):
        read_options(d.DegradationOptions, options, 'degradation')


def test_nothing_done_is_the_identity():
    assert (d.degrade(pixels(), NOTHING) == pixels()).all()


def test_parameters_repeat_the_result_and_leave_the_input_alone():
    source, kept = pixels(), pixels()
    for draw in drawn(30):
        first = d.degrade(source, draw)
        assert (first == d.degrade(source, draw)).all() and first.dtype == np.uint8
        assert first.shape == source.shape and (first != source).any()
    assert (source == kept).all()


@pytest.mark.parametrize('kernel', ['isotropic', 'anisotropic', 'motion'])
def test_blur_keeps_flat_images_flat(kernel):
    flat = np.full((64, 64, 3), 0.4, np.float32)
    blurred = d.blur(flat, dataclasses.replace(NOTHING, kernel=kernel, sigma_x=9, sigma_y=3, length=30, bend=1))
    np.testing.assert_allclose(blurred, flat, atol=1e-4)


@pytest.mark.parametrize('side', [5, 11, 13, 41])
def test_convolution_is_a_convolution(side):
    """Direct or through the Fourier transform: OpenCV's correlation with the turned kernel, border and all."""
    kernel = np.random.default_rng(side).random((side, side), np.float32)
    kernel /= kernel.sum()
    expected = cv2.filter2D(image(), -1, np.ascontiguousarray(kernel[::-1, ::-1]), borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(d.convolve(image(), kernel), expected, atol=1e-5)


def test_isotropic_blur_is_the_symmetric_case():
    one = d.blur(image(), dataclasses.replace(NOTHING, kernel='isotropic', sigma_x=3, sigma_y=3))
    other = d.blur(image(), dataclasses.replace(NOTHING, kernel='anisotropic', sigma_x=3, sigma_y=3, angle=1))
    np.testing.assert_allclose(one, other, atol=2e-4)


def spread(kernel):
    """Return the kernel's covariance (2, 2)."""
    steps = np.arange(len(kernel)) - len(kernel) // 2
    x, y = np.meshgrid(steps, steps)
    return np.array([[(kernel * a * b).sum() for a in (x, y)] for b in (x, y)])


def test_gaussian_kernel_has_its_sigmas():
    np.testing.assert_allclose(spread(d.gaussian_kernel(3, 1.5, 0, 41)), [[9, 0], [0, 2.25]], atol=0.2)
    np.testing.assert_allclose(spread(d.gaussian_kernel(3, 1.5, np.pi / 2, 41)), [[2.25, 0], [0, 9]], atol=0.2)


def test_motion_kernel_is_a_line_of_its_length():
    kernel = d.motion_kernel(21, 0, 0, 41)
    assert kernel.sum() == pytest.approx(1) and (kernel.sum(1) > 1e-3).sum() == 1
    assert spread(kernel)[0, 0] == pytest.approx(21**2 / 12, rel=0.05)


def test_kernels_stay_within_their_size():
    for draw in drawn(40):
        assert len(d.motion_kernel(draw.length, draw.angle, draw.bend, 41)) <= 41
        assert len(d.gaussian_kernel(draw.sigma_x, draw.sigma_y, draw.angle, 41)) <= 41


def test_noise_has_its_strength():
    grey = np.full((128, 128, 3), 0.5, np.float32)
    noisy = d.add_noise(grey, 20, seed=1)
    assert noisy.dtype == np.float32 and noisy.std() * 255 == pytest.approx(20, rel=0.02)
    assert not (d.add_noise(grey, 20, seed=2) == noisy).all()


def test_jpeg_gets_worse_with_quality():
    errors = [np.abs(d.compress(pixels(), quality).astype(int) - pixels()).mean() for quality in (5, 30, 95)]
    assert errors[0] > errors[1] > errors[2]


def test_jpeg_keeps_the_channel_order():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_allclose(d.compress(red, 95), red, atol=6)


@pytest.mark.parametrize('how', ['area', 'bilinear', 'bicubic', 'antialiased_bicubic'])
def test_resize_keeps_the_mean_and_range(how):
    small = d.resize(image(64), 16, 16, how)
    assert small.shape == (16, 16, 3) and small.dtype == np.float32 and small.min() >= 0 and small.max() <= 1
    assert small.mean() == pytest.approx(image().mean(), abs=0.02)


def test_parameters_read_as_text():
    assert str(NOTHING) == 'no blur | 1/1.0 area | noise 0 | no jpeg'
