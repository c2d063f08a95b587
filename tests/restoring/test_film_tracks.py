"""Faces are followed from frame to frame, smoothly, through gaps and not through cuts; rare detection is enough."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

av = pytest.importorskip('av', reason='PyAV is not installed')

from tiny_film import FACE, POINTS, SIDE, SIZE, background, find, picture, place  # noqa: E402

from mmrbgan.restoring.film.reading import FilmFrame, FilmInfo  # noqa: E402
from mmrbgan.restoring.film.smoothing import FADE, Smoother, Wanted, local_fit  # noqa: E402
from mmrbgan.restoring.film.tracking import CutFinder, Tracker, flow, track_all  # noqa: E402
from mmrbgan.restoring.film.views import View, view_size  # noqa: E402
from mmrbgan_data.alignment import apply, invert, template  # noqa: E402

INFO = FilmInfo(Path('film.mp4'), SIZE, 'h264', 'yuv444p', Fraction(1, 25), Fraction(25), 0, Fraction(1), 0, False)


def views(images):
    for t, image in enumerate(images):
        video = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format='yuv444p')
        yield View(INFO, FilmFrame(t, t, 1, video), view_size(INFO))


def follow(images, detector=find, wanted=None, interval=8):
    """All settled faces, frame by frame, and the smoother and the tracker."""
    tracker, smoother = Tracker(detector, interval), Smoother(wanted or Wanted())
    return [faces for _, faces in smoother.run(track_all(views(images), tracker))], smoother, tracker


def points_of(face):
    return apply(invert(face.to_crop(512)), template(512))


def moving(count):
    return [picture(t) for t in range(count)]


def test_flow_follows_a_turn_and_a_zoom_to_a_fraction_of_a_pixel():
    before = cv2.cvtColor(picture(0), cv2.COLOR_RGB2GRAY)
    matrix = cv2.getRotationMatrix2D((96, 72), 3, 1.02)
    after = cv2.warpAffine(before, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    points = POINTS + place(0)
    assert np.abs(flow(before, after, points) - apply(matrix, points)).max() < 0.15
    assert flow(before, np.random.default_rng(0).integers(0, 255, before.shape, dtype=np.uint8), points) is None


def test_one_track_without_jitter_and_few_detections():
    found, smoother, tracker = follow(moving(40))
    assert [len(faces) for faces in found] == [1] * 40 and len(smoother.records) == 1
    assert tracker.detections <= 8
    truth = np.array([place(t) for t in range(40)])
    path = np.array([points_of(faces[0]).mean(0) for faces in found])
    error = (path - truth) - (path - truth).mean(0)
    assert np.abs(error).max() < 0.8  # the true path is rounded to whole pixels
    assert all(faces[0].fade == 1 for faces in found)


def test_a_cut_ends_a_track_even_where_the_next_face_is_at_the_same_place():
    images = [picture(t) for t in range(12)] + [picture(t, face=FACE[:, ::-1], seed=5) for t in range(12, 24)]
    found, smoother, _ = follow(images, detector=lambda image: find(image) or find(image[:, ::-1]))
    assert len(smoother.records) >= 2 and smoother.records[1].last == 11
    assert found[11][0].fade == 1


def test_fast_motion_is_no_cut_and_a_flash_of_light_neither():
    finder = CutFinder()
    images = [np.roll(picture(0), 9 * t, 1) for t in range(20)]
    images[10] = np.clip(images[10] * 1.4 + 30, 0, 255).astype(np.uint8)
    assert not any(finder.is_cut(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)) for image in images)
    assert finder.is_cut(cv2.cvtColor(picture(0, seed=9)[::-1].copy(), cv2.COLOR_RGB2GRAY))


def hidden(images, frames):
    """The face is covered in some frames."""
    for t in frames:
        x, y = place(t)
        images[t][y : y + SIDE, x : x + SIDE] = picture(t, face=FACE * 0 + 128)[y : y + SIDE, x : x + SIDE]
    return images


def test_a_face_that_is_gone_is_not_pasted_on_what_the_flow_follows_behind_it():
    images = [*(picture(0) for _ in range(12)), *(background() for _ in range(24))]
    found, _, _ = follow(images)
    assert [len(faces) for faces in found] == [1] * 12 + [0] * 24


def test_a_gap_of_few_frames_is_bridged_and_a_long_one_ends_the_track():
    found, smoother, _ = follow(hidden(moving(40), range(20, 23)))
    assert [len(faces) for faces in found] == [1] * 40 and len(smoother.records) == 1
    found, smoother, _ = follow(hidden(moving(40), range(15, 28)))
    there = [len(faces) for faces in found]
    assert there[:28] == [1] * 15 + [0] * 13 and there[36:] == [1] * 4 and len(smoother.records) == 2


def test_strength_fades_at_ends_within_a_shot_and_not_at_the_films():
    found, _, _ = follow(hidden(moving(45), range(18, 30)))
    fades = [faces[0].fade if faces else 0 for faces in found]
    ramp = [i / (FADE + 1) for i in range(1, FADE + 1)]
    back = next(t for t in range(30, 45) if fades[t])
    assert np.allclose(fades[12:18], ramp[::-1]) and np.allclose(fades[back : back + 6], ramp)
    assert fades[:12] == [1] * 12 and set(fades[back + 6 :]) == {1}


def test_what_is_seen_in_a_few_frames_only_is_left_alone():
    def sometimes(image):
        nonlocal calls
        calls += 1
        return find(image) if calls == 4 else []

    calls = 0
    found, smoother, _ = follow(
        [picture(0, face=FACE * 0 + 128)] * 3 + hidden(moving(24), range(4, 24)), sometimes, interval=1
    )
    assert not any(found) and smoother.records[1].frames == 0


def test_what_a_detector_takes_for_a_face_once_is_not_followed():
    calls = []

    def mistaken(image):
        calls.append(image)
        return find(np.roll(image, -60, 1))[:1] if len(calls) == 1 else []

    found, smoother, _ = follow([np.roll(picture(0), 60, 1)] * 20, mistaken)
    assert not any(found) and len(smoother.records) == 1


def test_small_faces_and_those_that_a_report_names_are_left_alone():
    assert not any(follow(moving(8), wanted=Wanted(min_face=100))[0])
    assert not any(follow(moving(8), wanted=Wanted(left_alone=frozenset({1})))[0])
    assert all(follow(moving(8), wanted=Wanted('largest'))[0])


def test_smoothing_keeps_a_curve_and_has_no_lag():
    times = np.arange(-6, 7)
    curve = np.column_stack([3 + 0.5 * times - 0.2 * times**2, times])
    assert np.allclose(local_fit(times, curve), [3, 0])
    noise = np.random.default_rng(0).normal(size=(13, 400))
    assert local_fit(times, noise).std() < 0.65
