"""Boxes of facial components: made from landmarks, looked up by file name, mirrored, never changed in place."""

import json

import numpy as np
import pytest
from component_rows import boxes, named, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data import components as c


def points_68(seed=0):
    return np.random.default_rng(seed).uniform(10, 90, (68, 2)).astype(np.float32)


def random_boxes(seed):
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 100, (len(c.NAMES), 2))
    boxes = np.concatenate([low, low + rng.integers(1, 28, low.shape)], 1).astype(np.float32)
    mask = rng.random(len(c.NAMES)) < 0.7
    return np.where(mask[:, None], boxes, np.float32(0)), mask


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_flip_is_an_involution(seed):
    before, mask = random_boxes(seed)
    again = c.flip_boxes(*c.flip_boxes(before, mask, 128), 128)
    assert (again[0] == before).all() and (again[1] == mask).all()


def test_flip_mirrors_and_swaps_the_eyes():
    flipped, mask = c.flip_boxes(*boxes(left_eye=[10, 20, 30, 40], right_eye=[70, 20, 90, 40]), 128)
    wanted, present = boxes(left_eye=[38, 20, 58, 40], right_eye=[98, 20, 118, 40])
    assert (flipped == wanted).all() and (mask == present).all()


def test_flipped_box_frames_the_flipped_pixels():
    image = np.zeros((16, 16), np.uint8)
    image[2:5, 3:7] = 1
    flipped, _ = c.flip_boxes(*boxes(mouth=[3, 2, 7, 5]), 16)
    x1, y1, x2, y2 = flipped[c.NAMES.index('mouth')].astype(int)
    assert image[:, ::-1][y1:y2, x1:x2].sum() == image.sum() == (x2 - x1) * (y2 - y1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_flip_moves_boxes_with_the_image(seed):
    """What a box of the mirrored image frames is the mirror image of what its counterpart framed."""
    image = np.random.default_rng(seed).integers(0, 256, (128, 128), dtype=np.uint8)
    boxes, mask = random_boxes(seed)
    flipped, _ = c.flip_boxes(boxes, mask, 128)
    for row, other in zip(flipped.astype(int), boxes[list(c.MIRROR)].astype(int), strict=True):
        framed, original = (
            picture[y1:y2, x1:x2] for picture, (x1, y1, x2, y2) in ((image[:, ::-1], row), (image, other))
        )
        assert (framed == original[:, ::-1]).all()


def test_flip_leaves_its_input_alone():
    boxes, mask = random_boxes(1)
    kept = boxes.copy()
    c.flip_boxes(boxes, mask, 128)
    assert (boxes == kept).all()


def test_circle_by_hand():
    points = points_68()
    points[36:42] = [[100, 50], [120, 50], [110, 45], [110, 55], [105, 50], [105, 50]]
    assert c.circles_from_landmarks(points, 64)[0].tolist() == [110.5, 50.5, 10]
    assert c.circles_from_landmarks(points, 512)[0, 2] == 16  # the least half-width


def test_49_points_give_the_boxes_of_68():
    points = points_68()
    points[[60, 64]] = points[[48, 54]]  # inner corners within the outer mouth, as in a face
    subset = points[[*range(17, 60), 61, 62, 63, 65, 66, 67]]
    assert (c.circles_from_landmarks(points, 512) == c.circles_from_landmarks(subset, 512)).all()


def test_box_is_enlarged_and_moved_inside():
    found, mask = c.boxes_from_circles(rows(3, left_eye=[50, 50, 10], right_eye=[5, 50, 10]), 100, 100)
    wanted, present = boxes(left_eye=[36, 36, 64, 64], right_eye=[0, 36, 28, 64])
    assert (found == wanted).all() and (mask == present).all()


def test_files_are_looked_up_by_name(tmp_path):
    points = {f'{name}.png': points_68(seed) for seed, name in enumerate(('a.b', 'ü "q"', 'c'))}
    c.write_landmarks(tmp_path / 'landmarks.csv', points)
    circles = {name: c.circles_from_landmarks(value, 100) for name, value in points.items()}
    c.write_components(tmp_path / 'components.json', circles, 100)
    from_csv = c.read_components(tmp_path / 'landmarks.csv', 100)
    from_json = c.read_components(tmp_path / 'components.json')
    for name in points:
        expected = c.boxes_from_circles(circles[name], 100, 100)[0]
        np.testing.assert_allclose(from_csv.boxes(name, 100, 100)[0], expected, atol=0.02)
        np.testing.assert_allclose(from_json.boxes(name, 100, 100)[0], expected, atol=0.02)


def test_unknown_file_has_no_components(tmp_path):
    (tmp_path / 'components.json').write_text('{"size": 100, "files": {}}')
    boxes, mask = c.read_components(tmp_path / 'components.json').boxes('x.png', 100, 100)
    assert not mask.any() and not boxes.any()


def test_absent_component_survives_the_file(tmp_path):
    circles = {'x.png': rows(3, left_eye=[50, 50, 9], mouth=[50, 80, 9])}
    c.write_components(tmp_path / 'components.json', circles, 100)
    assert json.loads((tmp_path / 'components.json').read_text())['files']['x.png']['right_eye'] is None
    _, mask = c.read_components(tmp_path / 'components.json').boxes('x.png', 100, 100)
    assert {name for name, present in named(mask).items() if present} == {'left_eye', 'mouth'}


def test_box_outside_the_image_names_file_and_component(tmp_path):
    circles = {'x.png': rows(3, left_eye=[50, 50, 9], right_eye=[450, 50, 9], mouth=[50, 80, 9])}
    c.write_components(tmp_path / 'components.json', circles, 100)
    with pytest.raises(UsageError, match=r"components.json: the right_eye of 'x.png' lies outside its 100x100 image"):
        c.read_components(tmp_path / 'components.json').boxes('x.png', 100, 100)


def test_circles_are_scaled_to_the_image(tmp_path):
    c.write_components(tmp_path / 'components.json', {'x.png': c.circles_from_landmarks(points_68(0), 512)}, 512)
    table = c.read_components(tmp_path / 'components.json')
    stored, doubled = (table.boxes('x.png', side, side)[0] for side in (512, 1024))
    np.testing.assert_allclose(doubled, 2 * stored)


def test_circles_without_a_size_are_in_each_images_own_pixels(tmp_path):
    text = '{"files": {"x.png": {"left_eye": [100, 100, 20], "right_eye": null, "mouth": null}}}'
    (tmp_path / 'components.json').write_text(text)
    boxes, _ = c.read_components(tmp_path / 'components.json').boxes('x.png', 512, 512)
    np.testing.assert_allclose(boxes[0], [72, 72, 128, 128])


@pytest.mark.parametrize('size', ['0', '-512', 'NaN', 'true', '"512"', '[512]'])
def test_size_that_is_none_is_one_line(tmp_path, size):
    (tmp_path / 'components.json').write_text(f'{{"size": {size}, "files": {{}}}}')
    with pytest.raises(UsageError, match=r'components.json: .*size: .* is not a positive number') as error:
        c.read_components(tmp_path / 'components.json')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'text', ['{', '[]', '{"size": 9, "files": {"a": 1}}', '{"size": 9, "files": {"a": {"left_eye": [1]}}}']
)
def test_damaged_json_is_one_line(tmp_path, text):
    (tmp_path / 'components.json').write_text(text)
    with pytest.raises(UsageError, match=r'components.json: not a') as error:
        c.read_components(tmp_path / 'components.json')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['a.png,68,0,1,2\n', 'a.png,67,0' + ',1' * 134, 'a.png,x,0\n'])
def test_damaged_csv_is_one_line(tmp_path, text):
    (tmp_path / 'landmarks.csv').write_text(text)
    with pytest.raises(UsageError, match=r'landmarks.csv: not a') as error:
        c.read_components(tmp_path / 'landmarks.csv')
    assert '\n' not in str(error.value)


def test_stored_annotations_cannot_be_written(tmp_path):
    c.write_components(tmp_path / 'components.json', {'x.png': np.full((len(c.NAMES), 3), 9, np.float32)}, 100)
    table = c.read_components(tmp_path / 'components.json')
    first, _ = table.boxes('x.png', 100, 100)
    kept = first.copy()
    first += 5
    assert (table.boxes('x.png', 100, 100)[0] == kept).all()


def test_crop_size_is_in_proportion():
    sizes = named([c.crop_size(component, 128) for component in c.COMPONENTS])
    assert (sizes['left_eye'], sizes['right_eye'], sizes['mouth']) == (20, 20, 30)


def test_yaw_of_the_shared_faces(shared):
    path = shared / 'faces' / 'val512' / 'landmarks.csv'
    stated = {line.split(',')[0]: float(line.split(',')[2]) for line in path.read_text().splitlines()[1:]}
    measured = {name: c.yaw_of(points) for name, points in c.read_landmarks(path).items()}
    assert max(abs(stated[name] - measured[name]) for name in stated) < 0.01
