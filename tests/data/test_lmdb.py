"""LMDBs: any name, a map that grows, whole or not at all, and safe to read from forked and spawned workers."""

import os
from multiprocessing import get_context

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmrbgan_data.components import COMPONENTS, write_components
from mmrbgan_data.datasets.degradation_dataset import MMRBGANDegradationDataset
from mmrbgan_data.images import _ENVIRONMENTS, ImageSource, encode_png, open_lmdb
from mmrbgan_data.prepare.lmdb_writer import write_lmdb

NAMES = ['a.b.png', 'a.c.png', 'sub/눈 "q".png', 'x' * 240 + '/' + 'y' * 240 + '.png']


def picture(seed, size=32):
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def target(tmp_path):
    target = tmp_path / 'set.lmdb'
    circles = {name: np.full((len(COMPONENTS), 3), 10, np.float32) for name in NAMES}
    write_components(tmp_path / 'components.json', circles, 32)
    images = [(name, encode_png(picture(seed))) for seed, name in enumerate(NAMES)]
    write_lmdb(target, images, 1, [tmp_path / 'components.json'])
    return target


def test_names_come_back(target):
    source = ImageSource(target)
    assert source.names == NAMES
    assert all((source.read(index) == picture(index)).all() for index in range(len(NAMES)))


def test_map_grows_when_the_estimate_was_too_small(tmp_path):
    content = np.random.default_rng(0).bytes(2_000_000)
    write_lmdb(tmp_path / 'big.lmdb', ((f'{number}.png', content) for number in range(5)), total_bytes=10)
    source = ImageSource(tmp_path / 'big.lmdb')
    assert len(source) == 5 and source.read_bytes(4) == content


def test_stopped_writing_leaves_the_old_one(target):
    def images():
        yield 'new.png', b'1'
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lmdb(target, images(), 100)
    assert ImageSource(target).names == NAMES and len(ImageSource(target).read_bytes(0)) > 1


def opened_here(root):
    return open_lmdb(root) is open_lmdb(root) and _ENVIRONMENTS[root][0] == os.getpid()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_each_process_opens_one_environment_of_its_own(target):
    assert opened_here(str(target))
    with get_context('fork').Pool(1) as pool:
        assert pool.apply(opened_here, (str(target),))


def test_replaced_while_open(target):
    assert ImageSource(target).read_bytes(0)
    write_lmdb(target, [('new.png', b'1')], 1)
    source = ImageSource(target)
    assert source.names == ['new.png'] and source.read_bytes(0) == b'1'
    assert [path.name for path in target.parent.glob('.*')] == []


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_workers_read_what_the_parent_has_open(target, method):
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(target), 'image_size': 32})
    here = [dataset[index] for index in range(len(NAMES))]
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=method)
    for one, other in zip(here, loader, strict=True):
        assert torch.equal(one['lq'], other['lq']) and one['gt_path'] == other['gt_path']
        assert one['component_mask'].all() and torch.equal(one['component_boxes'], other['component_boxes'])


@pytest.mark.parametrize('share', [0, 0.01, 0.3, 0.7, 0.99])
def test_a_file_cut_off_is_one_line_and_no_bus_error(tmp_path, share):
    from mmrbgan_arch.support.errors import UsageError
    from mmrbgan_data.images import ImageSource, close_lmdb, encode_png
    from mmrbgan_data.prepare.lmdb_writer import write_lmdb

    png = encode_png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    root = tmp_path / 'a.lmdb'
    write_lmdb(root, [(f'{i}.png', png) for i in range(50)], len(png) * 50)
    ImageSource(root).read(49)
    close_lmdb(root)
    os.truncate(root / 'data.mdb', int(50 * len(png) * share))
    with pytest.raises(UsageError, match='damaged or cut off'):
        ImageSource(root).read(49)
