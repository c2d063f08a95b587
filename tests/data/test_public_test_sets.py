"""`mmrbgan prepare --set`: each public download, in miniature and in its publisher's layout, becomes a test set."""

import hashlib
import json
import shutil

import cv2
import numpy as np
import pytest

from mmrbgan.cli import main
from mmrbgan_data.alignment import five_points, template
from mmrbgan_data.components import read_landmarks
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import list_images, read_image, write_image
from mmrbgan_data.prepare import public_test_sets

SIZE = 256


@pytest.fixture(scope='module')
def drawn():
    return [draw_face(np.random.default_rng([6, number]), SIZE) for number in range(3)]


def make(name, root, tmp_path, status=0):
    out = tmp_path / 'out'
    assert main(['prepare', '--set', name, '--root', str(root), '-o', str(out), '--size', '256']) == status
    return out


def selection(out):
    return json.loads((out / 'selection.json').read_text())


@pytest.fixture
def shared_celeba(tmp_path, drawn):
    """CelebA-HQ with two images of the test partition."""
    root = tmp_path / 'celeba'
    (root / 'CelebA-HQ-img').mkdir(parents=True)
    for number, (image, _) in enumerate(drawn):
        write_image(root / 'CelebA-HQ-img' / f'{number}.jpg', image)
    (root / 'CelebA-HQ-to-CelebA-mapping.txt').write_text(
        'idx orig_idx orig_file\n0 119613 119614.jpg\n1 99094 099095.jpg\n2 200121 200122.jpg\n'
    )
    (root / 'list_eval_partition.txt').write_text('099095.jpg 0\n119614.jpg 2\n200122.jpg 2\n')
    return root


def test_celeba_takes_the_test_partition(shared_celeba, tmp_path):
    root = shared_celeba
    out = make('celeba', root, tmp_path)
    assert list_images(out / 'gt') == ['00000.png', '00002.png']
    assert (read_image(out / 'gt' / '00000.png') == read_image(root / 'CelebA-HQ-img' / '0.jpg')).all()  # only scaled
    assert len(MMRBGANTestDataset({'dataroot_gt': str(out / 'gt'), 'image_size': 64})) == 2
    assert selection(out)['count_in_paper'] == 2556


def test_a_set_holds_what_its_selection_names(shared_celeba, tmp_path, capsys):
    out = make('celeba', shared_celeba, tmp_path)
    (shared_celeba / 'CelebA-HQ-img' / '2.jpg').unlink()
    make('celeba', shared_celeba, tmp_path)
    assert list_images(out / 'gt') == [item['file'] for item in selection(out)['files']] == ['00000.png']
    write_image(out / 'gt' / 'mine.png', np.zeros((8, 8, 3), np.uint8))
    make('celeba', shared_celeba, tmp_path, status=2)
    assert 'mine.png is not of this set' in capsys.readouterr().err
    assert (out / 'gt' / 'mine.png').is_file()


def wflw_line(points_68, blurred, name):
    """Spread 68 points over WFLW's 98."""
    points = np.zeros((98, 2))
    points[list(public_test_sets.WFLW_TO_68)] = points_68
    attributes = [0, 0, 0, 0, 0, int(blurred)]
    return ' '.join(map(str, [*points.reshape(-1).tolist(), 0, 0, 9, 9, *attributes, name]))


def test_wflws_points_are_those_of_the_mirrored_face_too():
    # WFLW's layout as published: contour, upper edges of the brows, nose, eyes and lips, and their mirrors.
    mirror_98 = dict(zip(range(33), reversed(range(33)), strict=True))
    for start, end in ((55, 59), (76, 82), (83, 87), (88, 92), (93, 95)):  # nose, lips
        mirror_98 |= {i: start + end - i for i in range(start, end + 1)}
    for left, right in ((range(33, 38), range(46, 41, -1)), ((60, 61, 63, 64, 65, 67), (72, 71, 69, 68, 75, 73))):
        mirror_98 |= dict(zip((*left, *right), (*right, *left), strict=True))
    mirror_68 = dict(zip(range(17), reversed(range(17)), strict=True))
    for start, end in ((31, 35), (48, 54), (55, 59), (60, 64), (65, 67)):
        mirror_68 |= {i: start + end - i for i in range(start, end + 1)}
    for left, right in ((range(17, 22), range(26, 21, -1)), (range(36, 42), (45, 44, 43, 42, 47, 46))):
        mirror_68 |= dict(zip((*left, *right), (*right, *left), strict=True))
    taken = public_test_sets.WFLW_TO_68
    assert [taken[i] for i in mirror_68.values()] == [mirror_98[taken[i]] for i in mirror_68]
    assert [taken[i] for i in (0, 17, 31, 36, 48, 55, 60, 65)] == [0, 33, 55, 60, 76, 83, 88, 93]
    assert taken[27:31] == (51, 52, 53, 54)


def test_wflw_is_drawn_at_random_and_aligned(tmp_path, drawn, monkeypatch):
    root = tmp_path / 'wflw'
    (root / 'WFLW_images' / '0--Parade').mkdir(parents=True)
    lines = []
    for number, (image, points) in enumerate(drawn):
        name = f'0--Parade/{number}.jpg'
        write_image(root / 'WFLW_images' / name, np.roll(image, 20, 0))
        lines.append(wflw_line(points + [0, 20], number != 1, name))
    (root / 'list_98pt_rect_attr_test.txt').write_text('\n'.join(lines))
    monkeypatch.setitem(
        public_test_sets.SETS, 'wflw', public_test_sets.dataclasses.replace(public_test_sets.SETS['wflw'], count=2)
    )
    out = make('wflw', root, tmp_path)
    names = [f'{number}_{number:04d}' for number in range(3)]
    first_two = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:2]
    assert list_images(out / 'lq') == sorted(f'{name}.png' for name in first_two)  # whichever are tagged as blurred
    landmarks = read_landmarks(out / 'lq' / 'landmarks.csv')
    assert set(landmarks) == set(list_images(out / 'lq'))
    assert all(np.abs(five_points(points) - template(SIZE)).mean() < 12 for points in landmarks.values())


@pytest.mark.parametrize('angle', [np.pi / 2, -np.pi / 2, np.pi / 2 - 0.4, -np.pi / 2 - 0.4])
def test_fddb_crops_stand_upright(tmp_path, drawn, angle):
    root = tmp_path / 'fddb'
    (root / 'originalPics' / 'big').mkdir(parents=True)
    (root / 'FDDB-folds').mkdir()
    image = np.zeros((200, 300, 3), np.uint8)
    chin = np.array([np.cos(angle), np.sin(angle)]) * np.sign(np.sin(angle))  # the end of the long axis that is lower
    cv2.circle(image, tuple(np.round([150, 100] + 30 * chin).astype(int).tolist()), 6, (255, 255, 255), -1)
    write_image(root / 'originalPics' / 'big' / 'img_1.jpg', image)
    (root / 'FDDB-folds' / 'FDDB-fold-01-ellipseList.txt').write_text(f'big/img_1\n1\n40 28 {angle} 150 100  1\n')
    out = make('fddb', root, tmp_path)
    assert list_images(out / 'lq') == ['big_img_1_0.png']
    rows, columns = np.nonzero(read_image(out / 'lq' / 'big_img_1_0.png')[..., 0] > 128)
    assert abs(columns.mean() - 128) < 3 and rows.mean() == pytest.approx(134 + 75, abs=4)


def test_lfw_takes_the_first_image_of_each_identity(shared, tmp_path):
    root = tmp_path / 'lfw'
    for path in sorted((shared / 'faces' / 'lfw').glob('*_0001.jpg'))[:3]:
        folder = root / path.name[:-9]
        folder.mkdir(parents=True)
        shutil.copy(path, folder / path.name)
        shutil.copy(path, folder / path.name.replace('0001', '0002'))
    people = [folder.name for folder in sorted(root.iterdir())][:2]
    (root / 'peopleDevTest.txt').write_text('2\n' + ''.join(f'{name}\t2\n' for name in people))
    out = make('lfw', root, tmp_path)
    assert list_images(out / 'lq') == [f'{name}.png' for name in people]
    assert all(item['source'].endswith('_0001.jpg') for item in selection(out)['files'])


def test_webface_lists_what_it_cannot_use(tmp_path):
    root = tmp_path / 'webface'
    for identity in ('0000045', '0000099'):
        (root / identity).mkdir(parents=True)
    write_image(root / '0000045' / '001.jpg', np.zeros((80, 80, 3), np.uint8))
    (root / '0000099' / '001.jpg').write_text('no image')
    make('webface', root, tmp_path, status=2)


def test_selection_repeats(tmp_path, drawn):
    root = tmp_path / 'CelebA-HQ-img'
    root.mkdir()
    for number, (image, _) in enumerate(drawn):
        write_image(root / f'{number}.jpg', image)
    first = selection(make('celeba', tmp_path, tmp_path))
    shutil.rmtree(tmp_path / 'out')
    assert selection(make('celeba', tmp_path, tmp_path)) == first and len(first['sha256']) == 64


@pytest.mark.parametrize('name', public_test_sets.SETS)
def test_missing_download_says_where_to_get_it(name, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    make(name, tmp_path / 'empty', tmp_path, status=2)
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'get it from' in error and 'it should hold' in error


@pytest.mark.parametrize('text', ['big/img_1\nmany\n', 'big/img_1\n2\n', 'big/img_1\n1\n40 28 x 1 1\n'])
def test_damaged_annotations_are_one_line(tmp_path, capsys, text):
    root = tmp_path / 'fddb'
    root.mkdir()
    (root / 'FDDB-fold-01-ellipseList.txt').write_text(text)
    make('fddb', root, tmp_path, status=2)
    assert 'not fddb as published' in capsys.readouterr().err
