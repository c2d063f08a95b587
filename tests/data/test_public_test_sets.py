"""`mmrbgan prepare --set`: each public download, in miniature and in its publisher's layout, becomes a test set."""

import dataclasses
import json
import shutil

import cv2
import numpy as np
import pytest

from mmrbgan.cli import main
from mmrbgan_data.alignment import five_points, template
from mmrbgan_data.components import read_landmarks, write_landmarks
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import list_images, read_image, write_image
from mmrbgan_data.prepare.cropping import sharpness
from mmrbgan_data.prepare.public_downloads import WFLW_TO_68
from mmrbgan_data.prepare.public_test_sets import SETS

SIZE = 256
TURNS = (0.05, -0.4, 0.3)  # of the three CelebA faces, in eye distances


@pytest.fixture(scope='module')
def drawn():
    return [draw_face(np.random.default_rng([6, number]), SIZE) for number in range(3)]


def make(name, root, tmp_path, *arguments, status=0):
    out = tmp_path / 'out'
    command = ['prepare', '--set', name, '--root', str(root), '-o', str(out), '--size', '256', '--workers', '1']
    assert main([*command, *arguments]) == status
    return out


def selection(out):
    return json.loads((out / 'selection.json').read_text())


def limit(monkeypatch, name, count):
    monkeypatch.setitem(SETS, name, dataclasses.replace(SETS[name], count=count))


def blurred(image, sigma):
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image


def scene(image, side=400):
    """Put a face of 256 px into a photograph."""
    edge = (side - SIZE) // 2
    return cv2.copyMakeBorder(image, edge, edge, edge, edge, cv2.BORDER_REFLECT)


@pytest.fixture
def shared_celeba(tmp_path, drawn):
    """CelebA-HQ as in CelebAMask-HQ, and CelebA's five points in the pixels of its own photographs."""
    root = tmp_path / 'celeba'
    (root / 'CelebA-HQ-img').mkdir(parents=True)
    originals = ('119614.jpg', '099095.jpg', '200122.jpg')
    mapping, points = ['idx orig_idx orig_file'], ['4', 'lefteye_x lefteye_y righteye_x righteye_y nose_x ...']
    for number, (original, turn, (image, _)) in enumerate(zip(originals, TURNS, drawn, strict=True)):
        write_image(root / 'CelebA-HQ-img' / f'{number}.jpg', image)
        mapping.append(f'{number}      {int(original[:6]) - 1}     {original}')
        points.append(f'{original} 100  200 140  200 {120 + 40 * turn:.0f} 221 105 250 135 250')
    points.append('000001.jpg 165  184  244  176  300  249  194  271  266  260')  # not in CelebA-HQ
    (root / 'CelebA-HQ-to-CelebA-mapping.txt').write_text('\n'.join(mapping) + '\n')
    (root / 'list_landmarks_celeba.txt').write_text('\n'.join(points) + '\n')
    return root


def test_celeba_takes_the_most_turned_faces(shared_celeba, tmp_path, monkeypatch):
    limit(monkeypatch, 'celeba', 2)
    out = make('celeba', shared_celeba, tmp_path)
    assert list_images(out / 'gt') == ['00001.png', '00002.png']
    only_scaled = read_image(shared_celeba / 'CelebA-HQ-img' / '1.jpg')
    assert (read_image(out / 'gt' / '00001.png') == only_scaled).all()
    assert len(MMRBGANTestDataset({'dataroot_gt': str(out / 'gt'), 'image_size': 64})) == 2
    found = selection(out)
    assert [item['score'] for item in found['files']] == [-0.4, 0.3]
    assert (found['order'], found['count'], found['candidates']) == ('yaw', 2, 3)
    assert 'most turned first' in found['rule'] and len(found['sha256']) == 64


def test_celebas_yaw_may_come_from_given_landmarks(shared_celeba, tmp_path, drawn, monkeypatch):
    limit(monkeypatch, 'celeba', 1)
    for name in ('list_landmarks_celeba.txt', 'CelebA-HQ-to-CelebA-mapping.txt'):
        (shared_celeba / name).unlink()
    points = drawn[0][1]
    turned = points + [[30.0, 0] if place == 30 else [0, 0] for place in range(68)]
    write_landmarks(tmp_path / 'own.csv', {'0.jpg': points, '1.jpg': points, '2.jpg': turned})
    out = make('celeba', shared_celeba, tmp_path, '--landmarks', str(tmp_path / 'own.csv'))
    assert list_images(out / 'gt') == ['00002.png']


def test_celebas_faces_without_a_yaw_are_listed(shared_celeba, tmp_path):
    path = shared_celeba / 'list_landmarks_celeba.txt'
    path.write_text('\n'.join(line for line in path.read_text().splitlines() if not line.startswith('200122')))
    found = selection(make('celeba', shared_celeba, tmp_path))
    assert [item['source'] for item in found['skipped']] == ['CelebA-HQ-img/2.jpg']
    assert found['skipped'][0]['reason'] == 'no landmarks' and found['count'] == 2


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        ('list_landmarks_celeba.txt', None, 'no list_landmarks_celeba.txt'),
        ('CelebA-HQ-to-CelebA-mapping.txt', None, 'no CelebA-HQ-to-CelebA-mapping.txt'),
        ('list_landmarks_celeba.txt', '1\nhead\n119614.jpg 1 2 x\n', 'not in the published form'),
    ],
)
def test_celeba_without_its_points_is_one_line(shared_celeba, tmp_path, capsys, name, text, message):
    if text is None:
        (shared_celeba / name).unlink()
    else:
        (shared_celeba / name).write_text(text)
    make('celeba', shared_celeba, tmp_path, status=2)
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_a_set_holds_what_its_selection_names(shared_celeba, tmp_path, capsys):
    out = make('celeba', shared_celeba, tmp_path)
    (shared_celeba / 'CelebA-HQ-img' / '2.jpg').unlink()
    make('celeba', shared_celeba, tmp_path)
    assert list_images(out / 'gt') == [item['file'] for item in selection(out)['files']] == ['00000.png', '00001.png']
    write_image(out / 'gt' / 'mine.png', np.zeros((8, 8, 3), np.uint8))
    make('celeba', shared_celeba, tmp_path, status=2)
    assert 'mine.png is not of this set' in capsys.readouterr().err
    assert (out / 'gt' / 'mine.png').is_file()


def wflw_line(points_68, name):
    """Spread 68 points over WFLW's 98; rectangle and six attributes after them."""
    points = np.zeros((98, 2)) + points_68.mean(0)
    points[list(WFLW_TO_68)] = points_68
    return ' '.join(map(str, [*points.reshape(-1).tolist(), 0, 0, 9, 9, *[0] * 6, name]))


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
    taken = WFLW_TO_68
    assert [taken[i] for i in mirror_68.values()] == [mirror_98[taken[i]] for i in mirror_68]
    assert [taken[i] for i in (0, 17, 31, 36, 48, 55, 60, 65)] == [0, 33, 55, 60, 76, 83, 88, 93]
    assert taken[27:31] == (51, 52, 53, 54)


@pytest.fixture
def small_wflw(tmp_path, drawn):
    """Four images of two folders, in both lists; the first has two faces, the smaller one named first."""
    root = tmp_path / 'wflw'
    lists = {'train': [], 'test': []}
    for number in range(4):
        image, points = drawn[number % 3]
        name = f'{number % 2}--Event/{number % 2}_Event_7_{number}.jpg'
        (root / 'WFLW_images' / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / 'WFLW_images' / name, np.roll(image, 20, 0))
        lines = lists['train' if number < 2 else 'test']
        if number == 0:
            lines.append(wflw_line(points / 3, name))
        lines.append(wflw_line(points + [0, 20], name))
    folder = root / 'WFLW_annotations' / 'list_98pt_rect_attr_train_test'
    folder.mkdir(parents=True)
    for part, lines in lists.items():
        (folder / f'list_98pt_rect_attr_{part}.txt').write_text('\n'.join(lines) + '\n')
    return root


def test_wflws_images_are_drawn_at_random_from_both_lists(small_wflw, tmp_path, monkeypatch):
    limit(monkeypatch, 'wflw', 2)
    drawn_sets = {}
    for seed in range(12):
        shutil.rmtree(tmp_path / 'out', ignore_errors=True)
        out = make('wflw', small_wflw, tmp_path, '--seed', str(seed))
        drawn_sets[seed] = tuple(list_images(out / 'lq'))
        assert selection(out)['seed'] == seed and selection(out)['candidates'] == 4 and 'detector' not in selection(out)
    assert len(set(drawn_sets.values())) > 1 and all(len(files) == 2 for files in drawn_sets.values())
    assert {file for files in drawn_sets.values() for file in files} == {
        f'{number % 2}--Event_{number % 2}_Event_7_{number}.png' for number in range(4)
    }
    shutil.rmtree(tmp_path / 'out')
    assert tuple(list_images(make('wflw', small_wflw, tmp_path, '--seed', '3') / 'lq')) == drawn_sets[3]


def test_wflws_largest_face_of_an_image_is_aligned(small_wflw, tmp_path):
    out = make('wflw', small_wflw, tmp_path)
    landmarks = read_landmarks(out / 'lq' / 'landmarks.csv')
    assert len(landmarks) == 4 and set(landmarks) == set(list_images(out / 'lq'))
    assert all(np.abs(five_points(points) - template(SIZE)).mean() < 12 for points in landmarks.values())
    sharp = read_image(out / 'lq' / '0--Event_0_Event_7_0.png')  # enlarged three times, were it the smaller one
    assert sharpness(sharp) > 0.5 * sharpness(read_image(out / 'lq' / '1--Event_1_Event_7_3.png'))


@pytest.fixture
def small_fddb(tmp_path, drawn):
    """Three photographs in FDDB's layout, the last two ever more blurred, beside one that no fold names."""
    root = tmp_path / 'fddb'
    (root / 'originalPics' / '2002' / 'big').mkdir(parents=True)
    (root / 'FDDB-folds').mkdir()
    for number, sigma in enumerate((0, 2, 4)):
        image = np.hstack([scene(blurred(drawn[number][0], sigma)), np.full((400, 200, 3), 99, np.uint8)])
        image[136:264, 436:564] = cv2.resize(drawn[0][0], (128, 128), interpolation=cv2.INTER_AREA)  # and a small face
        write_image(root / 'originalPics' / '2002' / 'big' / f'img_{number}.jpg', image)
        text = f'2002/big/img_{number}\n2\n98 70 1.5 200 200  1\n40 28 1.5 460 230  1\n'
        (root / 'FDDB-folds' / f'FDDB-fold-0{number + 1}-ellipseList.txt').write_text(text)
    write_image(root / 'originalPics' / '2002' / 'big' / 'img_9.jpg', scene(blurred(drawn[0][0], 6)))
    return root


def test_fddb_is_one_face_of_each_photograph_the_least_sharp_first(small_fddb, tmp_path, monkeypatch):
    limit(monkeypatch, 'fddb', 2)
    out = make('fddb', small_fddb, tmp_path, '--detector', 'centerface')
    assert list_images(out / 'lq') == ['2002_big_img_1.png', '2002_big_img_2.png']
    found = selection(out)
    assert [item['score'] for item in found['files']] == sorted(
        (item['score'] for item in found['files']), reverse=True
    )
    assert (found['order'], found['candidates'], found['detector']) == ('sharpness', 3, 'centerface')
    assert all(read_image(out / 'lq' / name).shape == (SIZE, SIZE, 3) for name in list_images(out / 'lq'))


def test_fddb_is_cut_by_retinaface(small_fddb, tmp_path, shared):
    weights = str(shared / 'weights' / 'detection_mobilenet0.25_Final.pth')
    shutil.copy(shared / 'faces' / 'whole' / '00.jpg', small_fddb / 'originalPics' / '2002' / 'big' / 'img_0.jpg')
    out = make('fddb', small_fddb, tmp_path, '--detector-weights', weights)
    assert selection(out)['detector'] == 'retinaface' and '2002_big_img_0.png' in list_images(out / 'lq')


def test_fddb_without_retinafaces_file_is_one_line(small_fddb, tmp_path, capsys):
    make('fddb', small_fddb, tmp_path, '--detector-weights', 'gone.pth', status=2)
    error = capsys.readouterr().err
    assert 'gone.pth' in error and error.count('\n') == 1


def test_lfw_takes_the_least_sharp_of_all_images(tmp_path, drawn, monkeypatch):
    limit(monkeypatch, 'lfw', 2)
    for number, sigma in enumerate((3, 0, 2, 1)):
        person = f'Ada_Sample{number // 2}'
        (tmp_path / 'lfw' / person).mkdir(parents=True, exist_ok=True)
        image = cv2.resize(scene(blurred(drawn[0][0], sigma)), (250, 250), interpolation=cv2.INTER_AREA)
        write_image(tmp_path / 'lfw' / person / f'{person}_000{number % 2 + 1}.jpg', image)
    out = make('lfw', tmp_path / 'lfw', tmp_path)
    assert list_images(out / 'lq') == ['Ada_Sample0_0001.png', 'Ada_Sample1_0001.png']
    found = selection(out)
    assert 'least sharp first' in found['rule'] and found['candidates'] == 4
    assert found['files'][0]['score'] < found['files'][1]['score']
    measured = sharpness(read_image(out / 'lq' / 'Ada_Sample0_0001.png'))
    assert found['files'][0]['score'] == pytest.approx(measured, abs=1e-3)


def test_lfw_is_read_in_its_own_form(shared, tmp_path):
    for path in sorted((shared / 'faces' / 'lfw').glob('*.jpg'))[:3]:
        folder = tmp_path / 'lfw' / path.stem[:-5]
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.name)
    assert selection(make('lfw', tmp_path / 'lfw', tmp_path))['count'] == 3


def test_webface_takes_the_least_sharp_of_the_first_images(tmp_path, drawn, monkeypatch):
    limit(monkeypatch, 'webface', 1)
    for number, sigmas in enumerate(((0, 4), (2, 0), (1, 0))):
        person = tmp_path / 'webface' / f'000004{number}'
        person.mkdir(parents=True)
        for image, sigma in enumerate(sigmas, 1):
            write_image(person / f'00{image}.jpg', scene(blurred(drawn[0][0], sigma)))
    out = make('webface', tmp_path / 'webface', tmp_path)
    assert list_images(out / 'lq') == ['0000041.png']
    assert selection(out)['files'][0]['source'] == '0000041/001.jpg' and selection(out)['candidates'] == 3


def test_webface_lists_what_it_cannot_use(tmp_path, capsys):
    root = tmp_path / 'webface'
    for identity in ('0000045', '0000099'):
        (root / identity).mkdir(parents=True)
    write_image(root / '0000045' / '001.jpg', np.zeros((80, 80, 3), np.uint8))
    (root / '0000099' / '001.jpg').write_text('no image')
    make('webface', root, tmp_path, status=2)
    assert 'none of 2 images could be used' in capsys.readouterr().err


def test_two_sources_of_one_name_are_one_line(tmp_path, drawn, capsys):
    for folder in ('lfw', 'lfw-funneled'):
        (tmp_path / 'root' / folder / 'Ada').mkdir(parents=True)
        write_image(tmp_path / 'root' / folder / 'Ada' / 'Ada_0001.jpg', drawn[0][0])
    make('lfw', tmp_path / 'root', tmp_path, status=2)
    assert 'share a name' in capsys.readouterr().err


def test_landmarks_for_a_set_that_has_no_use_for_them_are_refused(tmp_path, capsys):
    make('lfw', tmp_path, tmp_path, '--landmarks', 'some.csv', status=2)
    assert '--landmarks: --set lfw is not chosen by them' in capsys.readouterr().err


def test_selection_repeats(shared_celeba, tmp_path):
    first = selection(make('celeba', shared_celeba, tmp_path))
    shutil.rmtree(tmp_path / 'out')
    assert selection(make('celeba', shared_celeba, tmp_path)) == first


@pytest.mark.parametrize('name', SETS)
def test_missing_download_says_where_to_get_it(name, tmp_path, capsys):
    (tmp_path / 'empty').mkdir()
    make(name, tmp_path / 'empty', tmp_path, status=2)
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and 'get it from' in error and 'it should hold' in error


@pytest.mark.parametrize('text', ['big/img_1\nmany\n', 'big/img_1\n2\n'])
def test_damaged_annotations_are_one_line(tmp_path, capsys, text):
    root = tmp_path / 'fddb'
    root.mkdir()
    (root / 'FDDB-fold-01-ellipseList.txt').write_text(text)
    make('fddb', root, tmp_path, status=2)
    assert 'not fddb as published' in capsys.readouterr().err
