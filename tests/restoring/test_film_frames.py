"""Faces in planes, and steadiness: colours are exact, the rest of a frame is untouched, a blink is not smeared."""

import threading

import cv2
import numpy as np
import pytest

av = pytest.importorskip('av', reason='PyAV is not installed')

from tiny_film import FACE, SIZE, find, picture, write_film  # noqa: E402

from mmrbgan.evaluation.film_scores import score_film  # noqa: E402
from mmrbgan.restoring.film.overlap import ahead  # noqa: E402
from mmrbgan.restoring.film.planes import PlaneChange, crop_face, crop_luma, paste_changes, view_matrix  # noqa: E402
from mmrbgan.restoring.film.reading import plane_arrays, to_planar  # noqa: E402
from mmrbgan.restoring.film.steady import enlarged, moment, steady_face  # noqa: E402
from mmrbgan.restoring.paste import FaceChange, paste_faces  # noqa: E402
from mmrbgan_data.alignment import apply  # noqa: E402

MATRIX = np.array([[1.1, 0.2, -60], [-0.2, 1.1, -30]])
SIDE = 64


def change(matrix=MATRIX, side=SIDE):
    rng = np.random.default_rng(0)
    delta = cv2.GaussianBlur(rng.normal(0, 1, (side, side, 3)).astype(np.float32), (0, 0), 4)
    mask = np.zeros((side, side), np.float32)
    mask[8:-8, 8:-8] = 1
    before = np.full((side, side, 3), 0.5, np.float32)
    return before, before + delta, cv2.GaussianBlur(mask, (0, 0), 2)


@pytest.mark.parametrize('form', ['yuv420p', 'yuvj420p', 'yuv422p10le', 'yuv444p', 'gbrp', 'nv12', 'rgb24'])
def test_a_change_of_planes_is_that_of_rgb(form):
    video = av.VideoFrame.from_ndarray(cv2.GaussianBlur(picture(0), (0, 0), 3), 'rgb24').reformat(format=form)
    video = to_planar(video)
    before, after, mask = change()
    pasted = paste_changes(video, [PlaneChange(MATRIX, before, after, mask)])
    old, new = (each.to_ndarray(format='rgb24') for each in (video, pasted))
    wanted = paste_faces(old, [FaceChange(MATRIX, before, after, mask)], SIZE)
    inside = np.abs(np.float32(wanted) - old).max(2) > 4
    inside &= (wanted.min(2) > 3) & (wanted.max(2) < 252)
    limit = 2.5 if '20' in form or '22' in form or form == 'nv12' else 1.2
    assert inside.sum() > 500
    assert np.abs(np.float32(new) - wanted)[inside].mean() < limit
    assert all((a[:10] == b[:10]).all() for a, b in zip(plane_arrays(video), plane_arrays(pasted), strict=True))


def test_no_change_gives_every_number_back_and_the_input_is_not_written_to():
    video = av.VideoFrame.from_ndarray(picture(0), 'rgb24').reformat(format='yuv420p')
    saved = video.to_ndarray().copy()
    before, after, mask = change()
    assert paste_changes(video, []) is video
    same = paste_changes(video, [PlaneChange(MATRIX, before, before, mask)])
    assert (same.to_ndarray() == saved).all()
    paste_changes(video, [PlaneChange(MATRIX, before, after, mask)])
    assert (video.to_ndarray() == saved).all()


@pytest.mark.parametrize('form', ['yuv420p', 'yuv444p10le', 'gbrp', 'gray'])
def test_a_crop_has_the_frames_colours(form):
    image = cv2.GaussianBlur(picture(0), (0, 0), 2)
    if form == 'gray':
        image = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    video = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format=form)
    shown = video.to_ndarray(format='rgb24') if form != 'gray' else image
    crop, grey = crop_face(video, np.array([[1.0, 0, -30], [0, 1, -20]]), SIDE)
    limit = 2.5 if form == 'yuv420p' else 1  # chroma between its samples is interpolated in more than one way
    assert np.abs(crop * 255 - shown[20:84, 30:94]).mean() < limit
    assert grey == (form == 'gray')


def test_black_and_white_stays_black_and_white():
    grey = np.repeat(cv2.cvtColor(picture(0), cv2.COLOR_RGB2GRAY)[:, :, None], 3, 2)
    video = av.VideoFrame.from_ndarray(grey, 'rgb24').reformat(format='yuv420p')
    before, after, mask = change()
    assert crop_face(video, MATRIX, SIDE)[1]
    pasted = paste_changes(video, [PlaneChange(MATRIX, before, after, mask, grey=True)])
    assert (plane_arrays(pasted)[1] == 128).all() and not (pasted.to_ndarray() == video.to_ndarray()).all()


@pytest.mark.parametrize(('rotation', 'corner'), [(0, (0, 0)), (90, (199, 0)), (180, (199, 99)), (270, (0, 99))])
def test_a_turned_view_points_at_the_stored_pixels(rotation, corner):
    stored = np.zeros((100, 200))
    stored[corner[1], corner[0]] = 1
    turned = np.rot90(stored, rotation // 90)
    assert turned[0, 0] == 1
    assert np.allclose(apply(view_matrix((200, 100), (200, 100), rotation), np.zeros((1, 2)))[0], corner)


def talking(count, noise):
    """A still face with noise, whose mouth is another from the middle on; restoring takes half of the noise away."""
    rng, face = np.random.default_rng(0), FACE.astype(np.float32) / 255
    moments, truth = [], []
    for t in range(count):
        true = face.copy()
        if t >= count // 2:
            true[44:54, 22:42] = face[44:54, 22:42][::-1]
        dirt = cv2.GaussianBlur(rng.normal(0, noise, true.shape).astype(np.float32), (0, 0), 0.7)
        moments.append(moment(np.clip(true + dirt, 0, 1), np.clip(true + dirt / 2, 0, 1)))
        truth.append(true)
    return moments, truth


def test_noise_is_averaged_and_a_mouth_that_moves_is_not():
    moments, truth = talking(9, 0.06)
    now = moments[4]  # the first with the other mouth
    steady, _ = steady_face(now, moments[:4] + moments[5:], 1.0)
    assert (steady_face(now, moments[:4], 0.0)[0] == now.after).all()
    still, mouth = (slice(8, 36), slice(8, 56)), (slice(45, 53), slice(23, 41))
    error = np.abs(steady - truth[4])
    alone = np.abs(now.after - truth[4])
    assert error[still].mean() < 0.5 * alone[still].mean()
    assert error[mouth].mean() < alone[mouth].mean()
    smeared = np.mean([each.after for each in moments], 0)
    assert error[mouth].mean() < 0.5 * np.abs(smeared - truth[4])[mouth].mean()


def test_what_is_finer_than_the_network_is_averaged_too():
    rng, true = np.random.default_rng(0), cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    true, moments = cv2.resize(true, (128, 128), interpolation=cv2.INTER_CUBIC), []
    for _ in range(9):
        noisy = (true + rng.normal(0, 0.06, true.shape)).astype(np.float32)
        small = cv2.resize(noisy, (64, 64), interpolation=cv2.INTER_AREA)
        before = np.repeat(small[:, :, None], 3, 2)
        moments.append((moment(before, before, noisy), noisy))
    now, noisy = moments[4]
    _, change = steady_face(now, [each for i, (each, _) in enumerate(moments) if i != 4], 1.0)
    low = enlarged(now.before[:, :, 0])
    assert np.abs(noisy - low + change - (true - low)).mean() < np.abs(noisy - true).mean()
    assert np.std(now.fine + change) < 0.6 * np.std(now.fine)


@pytest.mark.parametrize('form', ['yuv420p', 'gbrp', 'yuv420p10le', 'gray'])
def test_a_finer_change_of_luma_reaches_the_planes(form):
    video = av.VideoFrame.from_ndarray(cv2.GaussianBlur(picture(0), (0, 0), 3), 'rgb24').reformat(format=form)
    before, _, mask = change()
    fine = np.zeros((128, 128), np.float32)
    fine[60:68, 60:68] = 0.1
    pasted = paste_changes(video, [PlaneChange(MATRIX, before, before, mask, fine=fine)])
    moved = crop_luma(pasted, MATRIX, SIDE) - crop_luma(video, MATRIX, SIDE)
    assert abs(moved[31:33, 31:33].mean() - 0.1) < 0.02 and np.abs(moved[:20]).max() < 0.01
    assert form != 'yuv420p' or (plane_arrays(pasted)[1] == plane_arrays(video)[1]).all()


def test_flicker_is_that_of_the_input_for_the_input_and_more_with_noise(tmp_path):
    rng = np.random.default_rng(0)
    images = [picture(t) for t in range(12)]
    noisy = [np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8) for image in images]
    true, bad = tmp_path / 'true.mkv', tmp_path / 'bad.mkv'
    write_film(true, images, codec='ffv1', options={}, sounds=0)
    write_film(bad, noisy, codec='ffv1', options={}, sounds=0)
    same = score_film(bad, bad, true, find, landmarks=False)
    assert same.pairs == 11 and same.flicker['restored'] == same.flicker['input'] > 1.3 * same.flicker['true']
    assert 25 < same.psnr['input'] == same.psnr['restored'] < 40
    better = score_film(true, bad, true, find, landmarks=False)
    assert better.flicker['restored'] == better.flicker['true'] and better.psnr['restored'] > 100


def test_stages_run_ahead_only_so_far_pass_errors_on_and_end_when_they_are_closed():
    made, closed = [], threading.Event()

    def numbers():
        try:
            for i in range(100):
                made.append(i)
                yield i
        finally:
            closed.set()

    stage = ahead(ahead(numbers(), 2), 2)
    assert [next(stage) for _ in range(3)] == [0, 1, 2]
    stage.close()
    assert closed.is_set() and len(made) <= 3 + 2 * (2 + 1) + 1

    def broken():
        yield 1
        raise ValueError('here')

    stage = ahead(broken(), 2)
    assert next(stage) == 1
    with pytest.raises(ValueError, match='here'):
        next(stage)


def test_a_toned_film_is_told_from_one_in_colour():
    luma = cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)[:, :, None].astype(np.float32) / 255
    sepia = np.clip(luma * np.float32([1, 0.9, 0.7]), 0, 1)
    assert moment(sepia, sepia).toned and not moment(FACE.astype(np.float32) / 255, sepia).toned
