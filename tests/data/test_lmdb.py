"""LMDBs: any name, a map that grows, whole or not at all, and safe to read from forked and spawned workers."""

import json
import os
from multiprocessing import get_context

import cv2
import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from mmrbgan_arch import basicsr_bridge
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


def test_basicsr_reads_it_too(tmp_path):
    if not basicsr_bridge.is_available():
        pytest.skip('basicsr is not installed')
    basicsr_bridge.connect()
    from basicsr.utils.file_client import FileClient

    names = ['sub/eins.png', '00042.png', 'zwei.drei.png', 'übrig.png', '00000001.png']
    root = tmp_path / 'gt.lmdb'
    pngs = [encode_png(picture(seed)) for seed in range(len(names))]
    write_lmdb(root, zip(names, pngs, strict=True), 1)
    assert (root / 'meta_info.txt').read_text() == 'sub/eins.png (32,32,3) 1\n00042.png (32,32,3) 1\n'
    client = FileClient('lmdb', db_paths=[str(root)], client_keys=['gt'])
    assert [bytes(client.get(key, 'gt')) for key in ('sub/eins', '00042')] == pngs[:2]
    client.client._client['gt'].close()
    source = ImageSource(root)
    assert source.names == names and [source.read_bytes(index) for index in range(len(names))] == pngs


def test_an_older_one_of_numbers_is_read(target):
    meta = json.loads((target / 'meta.json').read_text(encoding='utf-8'))
    with lmdb.open(str(target), lock=False) as environment, environment.begin(write=True) as transaction:
        for index, key in enumerate(meta.pop('keys')):
            transaction.put(f'{index:08d}'.encode(), transaction.pop(key.encode()))
    (target / 'meta.json').write_text(json.dumps(meta), encoding='utf-8')
    assert (ImageSource(target).read(3) == picture(3)).all()


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


def damage(content, dice):
    """Cut off, overwrite or zero a part of a file; the pages that lead to the images are hit as often as these."""
    kind, place = dice.choice(['cut', 'noise', 'zeros', 'bits']), int(dice.integers(len(content)))
    if dice.random() < 0.5:
        place = min(place % (1024 * 16), len(content) - 1)
    length = int(dice.integers(1, 5000))
    damaged = bytearray(content)
    if kind == 'cut':
        del damaged[place:]
    elif kind == 'bits':
        for at in dice.integers(len(content), size=20):
            damaged[at] ^= 1 << int(dice.integers(8))
    else:
        part = damaged[place : place + length]
        damaged[place : place + length] = dice.bytes(len(part)) if kind == 'noise' else bytes(len(part))
    return bytes(damaged)


def read_all(root, pngs):
    """In a child: 0 for the right images, 3 for one line, 5 for wrong ones, else a traceback or a signal."""
    from mmrbgan_arch.support.errors import UsageError
    from mmrbgan_data.images import UnreadableImageError

    refused, wrong = False, False
    try:
        source = ImageSource(root)
        for index, png in enumerate(pngs):
            try:
                wrong |= source.read_bytes(index) != png
                source.read(index)
            except UnreadableImageError:
                refused = True
    except UsageError:
        refused = True
    return 3 if refused else 5 if wrong else 0


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='no fork here')
def test_a_hundred_damaged_files_kill_no_reader(tmp_path, capfd):
    pngs = [encode_png(picture(seed, 64)) for seed in range(150)]
    root = tmp_path / 'a.lmdb'
    write_lmdb(root, [(f'{i}.png', png) for i, png in enumerate(pngs)], sum(map(len, pngs)))
    whole = (root / 'data.mdb').read_bytes()
    ends = []
    for seed in range(100):
        (root / 'data.mdb').write_bytes(damage(whole, np.random.default_rng(seed)))
        child = os.fork()
        if not child:
            status = 99
            try:
                status = read_all(root, pngs)
            finally:
                os._exit(status)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    counts = {status: ends.count(status) for status in sorted(set(ends))}
    print(f'100 damaged data.mdb, status: count {counts}')
    assert set(counts) <= {0, 3, 5}, counts
