"""The quick run's faces: made once, whole, aligned, with exact landmarks; or the real ones of MMRBGAN_FACES."""

import numpy as np
import pytest

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import five_points, template
from mmrbgan_data.components import find_component_file, read_components, read_landmarks, yaw_of
from mmrbgan_data.drawn import faces
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import list_images, read_image


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    monkeypatch.delenv('MMRBGAN_FACES', raising=False)
    monkeypatch.setattr(faces, 'COUNTS', {'train': 2, 'val': 1})
    return tmp_path


def test_faces_are_made_once_with_landmarks(cache):
    folder = faces.quick_faces('train')
    assert list_images(folder) == ['drawn_0000.png', 'drawn_0001.png']
    assert set(read_landmarks(folder / 'landmarks.csv')) == set(list_images(folder))
    made = (folder / 'drawn_0000.png').stat().st_mtime_ns
    assert faces.quick_faces('train') == folder and (folder / 'drawn_0000.png').stat().st_mtime_ns == made
    assert [path.name for path in folder.parent.iterdir()] == ['train']


def test_validation_has_the_photograph_and_other_drawings(cache):
    val, train = faces.quick_faces('val'), faces.quick_faces('train')
    assert list_images(val) == ['astronaut.png', 'drawn_0000.png']
    assert (read_image(val / 'drawn_0000.png') != read_image(train / 'drawn_0000.png')).any()
    table = read_components(find_component_file(val), 256)
    boxes, mask = table.boxes('astronaut.png', 256, 256)
    assert mask.all() and boxes[0, 2] < boxes[1, 2]


def test_stopped_drawing_leaves_nothing(cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(faces, 'draw_face', stop)
    with pytest.raises(KeyboardInterrupt):
        faces.quick_faces('train')
    assert not any(path.name == 'train' or path.name.startswith('.making') for path in cache.glob('*/*'))


def test_drawn_face_repeats_and_is_aligned():
    image, points = draw_face(np.random.default_rng(1), 128)
    again, _ = draw_face(np.random.default_rng(1), 128)
    assert image.shape == (128, 128, 3) and (image == again).all() and points.shape == (68, 2)
    assert np.abs(five_points(points) - template(128)).mean() < 6


def test_drawn_eyes_are_where_the_landmarks_say():
    """In open frontal eyes, white and pupil lie within the landmarks, so the contrast is there and not beside it."""
    inside, beside = [], []
    for seed in range(12):
        image, points = draw_face(np.random.default_rng(seed), 128)
        (x1, y1), (x2, y2) = points[36:42].min(0).astype(int), points[36:42].max(0).astype(int) + 1
        if abs(yaw_of(points)) < 0.2 and y2 - y1 >= 4:
            inside.append(image[y1:y2, x1:x2].max(2).std())
            beside.append(image[y1 + 12 : y2 + 12, x1:x2].max(2).std())
    assert len(inside) >= 3 and np.mean(inside) > 2 * np.mean(beside)


def test_drawn_faces_turn_both_ways():
    yaws = [yaw_of(draw_face(np.random.default_rng(seed), 32)[1]) for seed in range(12)]
    assert min(yaws) < -0.15 and max(yaws) > 0.15


def test_unknown_split_and_missing_real_faces_are_one_line(cache, monkeypatch):
    with pytest.raises(UsageError, match='quick-faces/test: only'):
        faces.quick_faces('test')
    monkeypatch.setenv('MMRBGAN_FACES', str(cache / 'gone'))
    with pytest.raises(UsageError, match=r"MMRBGAN_FACES: no folder '.*gone/train256'"):
        faces.quick_faces('train')


def test_real_faces_take_their_place(cache, monkeypatch):
    (cache / 'real' / 'val256').mkdir(parents=True)
    monkeypatch.setenv('MMRBGAN_FACES', str(cache / 'real'))
    assert faces.quick_faces('val') == cache / 'real' / 'val256'
