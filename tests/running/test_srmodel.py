"""MMRBGAN in BasicSR's own, unchanged SRModel, by the option files for it."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from mmrbgan.cli import main as mmrbgan_main
from mmrbgan.running.runner import main
from mmrbgan_arch import basicsr_bridge, load_network
from mmrbgan_data.components import write_landmarks
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import close_lmdb, write_image

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
OPTIONS = Path(__file__).parents[2] / 'options'
SIZE = 32


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the option files expect them: smooth pictures, and the same with less contrast."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for i in range(4):
            picture = cv2.resize(rng.integers(0, 255, (4, 4, 3), dtype=np.uint8), (SIZE, SIZE))
            for kind, shown in (('gt', picture), ('lq', picture // 2 + 64)):
                path = tmp_path / f'datasets/pairs/{split}/{kind}/{i}.png'
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), shown)
    return tmp_path


def start(command, metrics=None, **train_set):
    """Run the option file, its network and its length made small; ``train_set``: more keys of its data."""
    options = yaml.safe_load((OPTIONS / f'{command}_srmodel.yml').read_text(encoding='utf-8'))
    assert options['network_g']['type'] == 'MMRBGAN'
    assert options['model_type'] == 'SRModel'
    options['network_g'] |= {'out_size': SIZE, 'style_dim': 16, 'num_mlp': 2, 'narrow': 1 / 32}
    options['num_gpu'] = 0
    if command == 'train':
        options['datasets']['train'] |= {'gt_size': SIZE, 'num_worker_per_gpu': 0, **train_set}
        options['train'] |= {'total_iter': 30, 'ema_decay': 0.5}
        options['train']['optim_g']['lr'] = 2e-3
        options['val'] |= {'val_freq': 15, 'metrics': metrics or options['val']['metrics']}
        options['logger'] |= {'print_freq': 10, 'save_checkpoint_freq': 30, 'use_tb_logger': False}
    Path(f'{command}.yml').write_text(yaml.safe_dump(options), encoding='utf-8')
    return main([command, '-opt', f'{command}.yml'])


def logged(folder, pattern):
    log = next(folder.glob('*.log')).read_text(encoding='utf-8')
    return [float(value) for value in re.findall(pattern, log)]


def test_srmodel_trains_and_tests_mmrbgan(folder):
    assert start('train') == 0
    losses = logged(folder / 'experiments/train_srmodel', r'l_pix: (\S+)')
    assert losses[-1] < losses[0]
    assert start('test') == 0
    psnr = logged(folder / 'results/test_srmodel', r'# psnr: (\S+)')
    assert len(psnr) == 1 and psnr[0] > 10

    # The pictures SRModel wrote are the network's own, so its metrics are those of the true picture.
    network = load_network('experiments/train_srmodel/models/net_g_latest.pth')
    lq = torch.from_numpy(cv2.imread('datasets/pairs/val/lq/0.png')[:, :, ::-1].transpose(2, 0, 1).copy())[None]
    with torch.no_grad():
        restored = network(lq / 127.5 - 1)[0].clamp(-1, 1)
    expected = ((restored + 1) * 127.5).round().permute(1, 2, 0).numpy()
    written = cv2.imread('results/test_srmodel/visualization/pairs_val/0_test_srmodel.png')[:, :, ::-1]
    assert np.abs(expected - written).max() <= 1


def test_it_trains_from_lmdbs_that_prepare_wrote(folder):
    faces = {f'{number}.png': draw_face(np.random.default_rng([5, number]), 256) for number in range(3)}
    write_landmarks(folder / 'landmarks.csv', {name: points for name, (_, points) in faces.items()})
    flags = ['--aligned', '--lmdb', '--landmarks=landmarks.csv', '--size=256', '--val-share=0', '--workers=1']
    for kind in ('gt', 'lq'):
        for name, (face, _) in faces.items():
            write_image(folder / kind / name, face if kind == 'gt' else face // 2 + 64)
        more = ['--min-sharpness', '0', '--keep-duplicates']
        assert mmrbgan_main(['prepare', kind, '-o', f'{kind}_set', *flags, *more]) == 0
        close_lmdb(f'{kind}_set/train.lmdb')  # a process has an LMDB open once, and training is another one
    roots = {'dataroot_gt': 'gt_set/train.lmdb', 'dataroot_lq': 'lq_set/train.lmdb', 'io_backend': {'type': 'lmdb'}}
    assert start('train', batch_size_per_gpu=3, **roots) == 0
    losses = logged(folder / 'experiments/train_srmodel', r'l_pix: (\S+)')
    assert losses[-1] < losses[0]


def test_the_lower_value_is_the_best_where_lower_is_better(folder):
    assert start('train', metrics={'skin': {'type': 'calculate_skin_difference'}}) == 0
    values = logged(folder / 'experiments/train_srmodel', r'# skin: (\S+)')
    best = logged(folder / 'experiments/train_srmodel', r'# skin: .*Best: (\S+)')
    assert len(values) == 2 and values[0] != values[1] and best[-1] == min(values)
