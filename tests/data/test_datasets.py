"""Both datasets: what a sample holds, what it depends on, and how bad files are met."""

import logging
import multiprocessing
import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.components import NAMES, circles_from_landmarks, write_components, write_landmarks
from mmrbgan_data.datasets.degradation_dataset import MMRBGANDegradationDataset
from mmrbgan_data.datasets.sampler import ResumableSampler
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.images import write_image

SIZE = 32


def picture(seed, size=SIZE):
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def faces(tmp_path):
    """Five 'faces' with boxes for all but the last."""
    folder = tmp_path / 'gt'
    folder.mkdir()
    circles = {}
    for number in range(5):
        write_image(folder / f'{number}.png', picture(number))
        points = np.random.default_rng(number).uniform(8, 24, (68, 2)).astype(np.float32)
        circles[f'{number}.png'] = circles_from_landmarks(points, SIZE)
    del circles['4.png']
    write_components(folder / 'components.json', circles, SIZE)
    return folder


def training(folder, **options):
    return MMRBGANDegradationDataset({'dataroot_gt': str(folder), 'image_size': SIZE, 'seed': 3, **options})


def scored(**options):
    return MMRBGANTestDataset({'image_size': SIZE, 'seed': 3, **options})


def same(one, other):
    return all(torch.equal(v, other[k]) if torch.is_tensor(v) else v == other[k] for k, v in one.items())


def test_super_resolution_comes_after_the_degradation(faces):
    """Table 2's input: Eq. 17 first, then bicubic by the factor, then back to its size."""
    plain, reduced = scored(dataroot_gt=str(faces)), scored(dataroot_gt=str(faces), super_resolution=4)
    degraded = ((plain[1]['lq'] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    small = Image.fromarray(degraded).resize((SIZE // 4, SIZE // 4), Image.Resampling.BICUBIC)
    expected = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), int)
    found = ((reduced[1]['lq'] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 2  # Pillow rounds between its two passes
    assert np.abs(found - degraded).mean() > 1
    assert torch.equal(plain[1]['gt'], reduced[1]['gt'])


def test_super_resolution_reduces_real_inputs_too(faces):
    plain, reduced = scored(dataroot_lq=str(faces)), scored(dataroot_lq=str(faces), super_resolution=4)
    assert not torch.equal(plain[0]['lq'], reduced[0]['lq'])
    with pytest.raises(UsageError, match='super_resolution'):
        scored(dataroot_lq=str(faces), super_resolution=0)


def test_training_sample_is_as_agreed(faces):
    sample = training(faces)[0]
    for key in ('lq', 'gt'):
        assert sample[key].shape == (3, SIZE, SIZE) and sample[key].dtype == torch.float32
        assert sample[key].min() >= -1 and sample[key].max() <= 1
    assert sample['component_boxes'].shape == (len(NAMES), 4) and sample['component_boxes'].dtype == torch.float32
    assert sample['component_mask'].tolist() == [True] * len(NAMES)
    assert sample['gt_path'] == sample['lq_path'] == str(faces / '0.png')


def test_gt_is_the_file(faces):
    sample = training(faces, use_hflip=False)[2]
    pixels = ((sample['gt'] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert (pixels == picture(2)).all()


def test_face_without_boxes_has_none(faces):
    sample = training(faces)[4]
    assert not sample['component_mask'].any() and not sample['component_boxes'].any()


def test_epochs_differ_and_repeat(faces):
    dataset = training(faces)
    assert same(dataset[1, 0], dataset[1, 0])
    assert not torch.equal(dataset[1, 0]['lq'], dataset[2, 0]['lq'])
    assert same(dataset[0, 1], dataset[1]) and same(dataset[0, 1], training(faces)[1])


def test_enlarged_epoch_degrades_a_file_in_several_ways(faces):
    dataset = training(faces, use_hflip=False)
    first, second = dataset[0, 1], dataset[0, 6]
    assert torch.equal(first['gt'], second['gt']) and not torch.equal(first['lq'], second['lq'])


def test_seed_changes_everything(faces):
    assert not torch.equal(training(faces)[0]['lq'], training(faces, seed=4)[0]['lq'])


def test_flip_moves_boxes_with_pixels(faces):
    plain, dataset = training(faces, use_hflip=False)[0], training(faces)
    flipped = [dataset[epoch, 0] for epoch in range(20)]
    mirrored = [sample for sample in flipped if torch.equal(sample['gt'], plain['gt'].flip(2))]
    assert 3 < len(mirrored) < 17
    left, right = plain['component_boxes'][:2]
    assert mirrored[0]['component_boxes'][0].tolist() == [SIZE - right[2], right[1], SIZE - right[0], right[3]]
    assert mirrored[0]['component_boxes'][1].tolist() == [SIZE - left[2], left[1], SIZE - left[0], left[3]]


def test_stored_boxes_never_change(faces):
    dataset = training(faces)
    first = dataset[0, 0]['component_boxes'].clone()
    for epoch in range(6):
        dataset[epoch, 0]['component_boxes'].add_(7)
    assert torch.equal(dataset[0, 0]['component_boxes'], first)


def test_boxes_fit_images_twice_as_wide_as_their_file_says(faces):
    boxes = training(faces, use_hflip=False)[0]['component_boxes']
    for number in range(5):
        write_image(faces / f'{number}.png', picture(number, 2 * SIZE))
    torch.testing.assert_close(training(faces, use_hflip=False)[0]['component_boxes'], boxes)


def test_boxes_are_scaled_with_the_image(faces):
    boxes = training(faces, use_hflip=False)[0]['component_boxes']
    halved = training(faces, use_hflip=False, image_size=SIZE // 2)[0]
    assert halved['gt'].shape[1] == SIZE // 2
    torch.testing.assert_close(halved['component_boxes'], boxes / 2)


@pytest.mark.parametrize('workers', [1, 4])
def test_workers_change_nothing(faces, workers):
    dataset = training(faces)

    def run(count):
        sampler = ResumableSampler(dataset, ratio=2, seed=3)
        sampler.set_epoch(1)
        return list(DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=count))

    assert all(same(one, other) for one, other in zip(run(0), run(workers), strict=True))


def test_dataset_can_be_pickled_after_use(faces):
    dataset = training(faces)
    first = dataset[0]
    assert same(pickle.loads(pickle.dumps(dataset))[0], first)


def test_options_are_read_and_not_consumed(faces):
    opt = {'dataroot_gt': str(faces), 'image_size': SIZE, 'phase': 'train', 'degradation': {'noise': [0, 0]}}
    kept = {**opt, 'degradation': dict(opt['degradation'])}
    assert same(MMRBGANDegradationDataset(opt)[0], MMRBGANDegradationDataset(opt)[0]) and opt == kept


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'use_hflp': True}, r"datasets.train: unknown key 'use_hflp'; did you mean 'use_hflip'"),
        ({'degradation': {'noise': [9, 1]}}, r'datasets.train.degradation: noise'),
        ({'component_path': 'gone.json'}, 'gone.json'),
        ({'dataroot_lq': 'gone'}, 'datasets.train.dataroot_lq: no folder'),
        ({'image_size': 0}, 'image_size'),
        ({'paired_ratio': 2}, 'paired_ratio'),
        ({'dataset_enlarge_ratio': 0.5}, 'dataset_enlarge_ratio: must be at least 1'),
        ({'dataroot_gt': None}, 'dataroot_gt'),
    ],
)
def test_wrong_options_are_one_line(faces, options, message):
    with pytest.raises(UsageError, match=message) as error:
        training(faces, **options) if 'dataroot_gt' not in options else training(None, **options)
    assert '\n' not in str(error.value)


def test_bad_image_is_reported_once_and_replaced_by_the_next(faces, caplog):
    (faces / '1.png').write_bytes((faces / '1.png').read_bytes()[:-40])
    dataset = training(faces)
    with caplog.at_level(logging.WARNING, 'basicsr'):
        first, second = dataset[0, 1], dataset[1, 1]
    assert first['gt_path'] == second['gt_path'] == str(faces / '2.png')
    assert len(caplog.records) == 1 and '1.png' in caplog.text


def test_too_many_bad_images_end_the_run(faces):
    for number in (1, 2):
        (faces / f'{number}.png').write_text('no image')
    with pytest.raises(UsageError, match='more than max_bad_images: 1'):
        training(faces, max_bad_images=1)[1]


@pytest.mark.skipif('fork' not in multiprocessing.get_all_start_methods(), reason='workers are not forked here')
def test_a_worker_forked_beside_opencv_threads_does_not_wait_for_them(faces):
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 5)  # starts them
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(faces), 'image_size': SIZE})
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context='fork', timeout=60)
    assert len(list(loader)) == 5


def taken(dataset, workers, method):
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, multiprocessing_context=method)
    return [Path(sample['gt_path']).stem for sample in loader]


def test_bad_images_of_all_workers_count(faces):
    for number in (1, 4):  # one for each of two workers
        (faces / f'{number}.png').write_text('no image')
    with pytest.raises(UsageError, match='2 images failed, more than max_bad_images: 1'):
        taken(training(faces, max_bad_images=1), 2, 'fork')


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_bad_images_are_known_in_later_epochs(faces, caplog, method):
    (faces / '1.png').write_text('no image')
    dataset = training(faces, max_bad_images=1)
    assert taken(dataset, 1, method) == ['0', '2', '2', '3', '4']
    assert dataset[1]['gt_path'] == str(faces / '2.png') and not caplog.records  # the worker has told
    (faces / '4.png').write_text('no image')
    with pytest.raises(UsageError, match='2 images failed'):
        dataset[4]


def test_image_that_is_not_square_is_bad(faces):
    write_image(faces / '1.png', np.zeros((8, 16, 3), np.uint8))
    dataset = training(faces, max_bad_images=0)
    with pytest.raises(UsageError, match='16x8 is not square'):
        dataset[1]


def test_box_outside_the_image_is_one_line(faces):
    write_components(faces / 'components.json', {'1.png': np.full((len(NAMES), 3), 99, np.float32)}, SIZE)
    with pytest.raises(UsageError, match=r"of '1.png' lies outside its 32x32 image"):
        training(faces)[1]


def paired_folder(faces, names):
    folder = faces.parent / 'lq'
    folder.mkdir()
    for name in names:
        write_image(folder / f'{name}.jpg', np.full((SIZE, SIZE, 3), 77, np.uint8))
    return folder


def test_paired_data_takes_the_partner(faces):
    lq = paired_folder(faces, range(5))
    sample = training(faces, dataroot_lq=str(lq))[3]
    assert (sample['lq_path'], sample['gt_path']) == (str(lq / '3.jpg'), str(faces / '3.png'))
    assert sample['lq'].std() < 0.01 < sample['gt'].std()


def test_pair_is_mirrored_together(faces):
    lq = paired_folder(faces, [])
    for number in range(5):
        write_image(lq / f'{number}.png', picture(number))
    dataset = training(faces, dataroot_lq=str(lq))
    assert all(torch.equal(sample['lq'], sample['gt']) for sample in (dataset[epoch, 0] for epoch in range(8)))


def test_missing_partner_is_named_unless_mixed(faces):
    lq = paired_folder(faces, range(4))
    with pytest.raises(UsageError, match=r"1 of 5 gt images have no partner .* first '4.png'"):
        training(faces, dataroot_lq=str(lq))
    assert len(training(faces, dataroot_lq=str(lq), paired_ratio=0.5)) == 5


def test_mix_keeps_its_ratio(faces):
    lq = paired_folder(faces, [0, 1])
    dataset = training(faces, dataroot_lq=str(lq), paired_ratio=0.3)
    paired = sum('lq' in dataset[epoch, index]['lq_path'].split('/')[-2] for epoch in range(60) for index in range(5))
    assert 0.2 < paired / 300 < 0.4


def test_degraded_test_image_has_a_seed_of_its_own(faces):
    first, second = scored(dataroot_gt=str(faces)), scored(dataroot_gt=str(faces), max_images=2)
    assert same(first[1], second[1]) and len(second) == 2
    (faces / '0.png').unlink()
    assert same(scored(dataroot_gt=str(faces))[0], first[1])
    assert not same(scored(dataroot_gt=str(faces), seed=9)[0], first[1])


def test_lq_alone(faces):
    sample = scored(dataroot_lq=str(faces))[0]
    assert set(sample) == {'lq', 'lq_path'} and sample['lq'].shape == (3, SIZE, SIZE)


def test_lq_with_gt_is_paired_by_stem(faces):
    lq = paired_folder(faces, [3, 1])
    dataset = scored(dataroot_lq=str(lq), dataroot_gt=str(faces))
    assert [sample['gt_path'][-5:] for sample in dataset] == ['1.png', '3.png']


def test_lq_without_its_gt_is_named(faces):
    lq = paired_folder(faces, ['9'])
    with pytest.raises(UsageError, match=r'9.jpg'):
        scored(dataroot_lq=str(lq), dataroot_gt=str(faces))


def test_bad_test_image_is_left_out(faces, caplog):
    (faces / '1.png').write_bytes(b'')
    with caplog.at_level(logging.WARNING, 'basicsr'):
        dataset = scored(dataroot_gt=str(faces))
    assert len(dataset) == 4 and '1.png: empty file' in caplog.text


def test_test_folder_without_readable_image(faces):
    for path in faces.glob('*.png'):
        path.write_bytes(b'')
    with pytest.raises(UsageError, match='no readable square image'):
        scored(dataroot_gt=str(faces))


def test_roots_are_needed():
    with pytest.raises(UsageError, match='dataroot_lq, dataroot_gt: both are missing'):
        scored()


def test_real_faces_have_components(shared):
    dataset = training(shared / 'faces' / 'train256', image_size=64)
    assert len(dataset) > 1000 and dataset[0]['component_mask'].all()


def face_turned_by(yaw):
    """68 landmarks of which the nose tip tells the yaw."""
    points = np.random.default_rng(0).uniform(8, 24, (68, 2)).astype(np.float32)
    points[36:42], points[42:48] = (10, 12), (20, 12)
    points[30] = (15 + 10 * yaw, 16)
    return points


def chosen(dataset, epochs=60):
    return [Path(dataset[epoch, place]['gt_path']).stem for epoch in range(epochs) for place in range(len(dataset))]


@pytest.fixture
def turned_faces(faces):
    """Faces 0 to 2 are frontal, 3 is turned, 4 is in no list."""
    yaws = {'0.png': 0.0, '1.png': 0.05, '2.png': -0.05, '3.png': -0.3}
    write_landmarks(faces / 'landmarks.csv', {name: face_turned_by(yaw) for name, yaw in yaws.items()})
    return faces


def test_pose_balance_draws_each_range_as_often(turned_faces):
    share = chosen(training(turned_faces, pose_balance=1)).count('3') / 300
    assert share == pytest.approx(1 / 2, abs=0.08)
    halved = chosen(training(turned_faces, pose_balance=0.5))
    assert halved.count('3') / 300 == pytest.approx(1 / 5 / 2 + 1 / 4, abs=0.08) and '4' in halved
    assert chosen(training(turned_faces))[:5] == ['0', '1', '2', '3', '4']


def test_pose_balance_keeps_what_a_sample_depends_on(turned_faces):
    one, other = (training(turned_faces, pose_balance=1) for _ in range(2))
    assert same(one[2, 3], other[2, 3])
    plain = training(turned_faces, pose_balance=1e-9)
    assert same(plain[2, 3], training(turned_faces)[2, 3])


def test_pose_balance_passes_over_a_bad_file(turned_faces):
    (turned_faces / '3.png').write_bytes(b'no picture')
    assert '3' not in chosen(training(turned_faces, pose_balance=1), epochs=3)


def test_pose_balance_needs_landmarks_of_these_faces(faces, turned_faces):
    (turned_faces / 'landmarks.csv').unlink()
    with pytest.raises(UsageError, match=r'pose_balance: no .*landmarks\.csv'):
        training(faces, pose_balance=0.5)
    write_landmarks(faces / 'landmarks.csv', {'other.png': face_turned_by(0.0)})
    with pytest.raises(UsageError, match='knows none of the 5 images'):
        training(faces, pose_balance=0.5)
    (faces / 'landmarks.csv').write_text('a,b\n')
    with pytest.raises(UsageError, match=r'not a landmarks.csv'):
        training(faces, pose_balance=0.5)


def test_pose_balance_is_a_share(faces):
    with pytest.raises(UsageError, match=r'pose_balance: must be at least 0 and at most 1; found 2.0'):
        training(faces, pose_balance=2)


def test_group_balance_draws_each_group_as_often(faces):
    """Groups of one and of three files."""
    for number in range(1, 4):
        (faces / f'{number}.png').rename(faces / f'1.{number}.png')
    names = chosen(training(faces, group_balance=1.0, group_pattern=r'^([01])\.'))
    assert 0.4 < names.count('0') / len(names) < 0.6
    assert {name for name in names if name != '0'} == {'1.1', '1.2', '1.3'}


def test_balances_share_the_samples(turned_faces):
    names = chosen(training(turned_faces, pose_balance=0.5, group_balance=0.5, group_pattern='^(4)'))
    assert names.count('4') / len(names) == pytest.approx(0.5, abs=0.1)
    assert names.count('3') / len(names) == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize(
    ('options', 'complaint'),
    [
        ({'group_balance': 0.5}, 'each needs the other'),
        ({'group_pattern': '(x)'}, 'each needs the other'),
        ({'group_balance': 0.5, 'group_pattern': 'x'}, 'no group in parentheses'),
        ({'group_balance': 0.5, 'group_pattern': '(x'}, 'group_pattern: '),
        ({'group_balance': 0.6, 'pose_balance': 0.6, 'group_pattern': '(x)'}, 'more than 1'),
        ({'group_balance': 0.5, 'group_pattern': '(x)'}, 'matches none of the 5 names'),
    ],
)
def test_impossible_groups_are_refused(faces, options, complaint):
    with pytest.raises(UsageError, match=complaint):
        training(faces, **options)
