"""Bad input and test runs with this plugin's own model and datasets."""

import copy

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    tiny_run.make_faces('faces')
    return tmp_path


def with_key(place, value):
    """The tiny options with one key set."""
    options = copy.deepcopy(tiny_run.options())
    section = options
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    return options


BAD = {
    'train': (('train', 'total_itr'), 3, "train: unknown key 'total_itr'; did you mean 'total_iter'?"),
    'a loss': (('train', 'pixel_opt', 'los_weight'), 3, "did you mean 'loss_weight'"),
    'a rate': (('train', 'optim_d'), {'lr': 'fast'}, "train.optim_d.lr: expected float, found 'fast'"),
    'a dataset': (('datasets', 'train', 'use_hflp'), True, "datasets.train: unknown key 'use_hflp'"),
    'a network': (('network_g', 'narow'), 1.0, "network_g: unknown key 'narow'; did you mean 'narrow'?"),
    'the top': (('netwrk_g',), {}, "unknown key 'netwrk_g'"),
    'val': (('val', 'val_frq'), 3, "val: unknown key 'val_frq'; did you mean 'val_freq'?"),
    'a folder': (('datasets', 'train', 'dataroot_gt'), 'nowhere', 'nowhere'),
    'weights': (('path',), {'pretrain_network_g': 'none.pth'}, 'there is no file none.pth'),
    'a size': (('network_g', 'out_size'), 100, 'out_size'),
    'another size': (
        ('datasets', 'val', 'image_size'),
        128,
        'datasets.val.image_size: 128, but network_g.out_size is 64',
    ),
    'a metric': (('val', 'metrics', 'psnr', 'type'), 'calculate_pnsr', "did you mean 'calculate_psnr'?"),
    'no metric': (
        ('val', 'metrics', 'psnr'),
        {'crop_border': 0},
        'val.metrics.psnr: expected keys and values with a type',
    ),
    'no penalty': (('train', 'r1_opt', 'interval'), 0, 'train.r1_opt.interval: must be at least 1'),
    'no rate': (('train', 'optim_g'), {'lr_codec': 0, 'lr_prior': 0, 'lr_noise': 0}, 'are all 0'),
    'a rate below 0': (('train', 'optim_d'), {'lr': -1}, 'train.optim_d.lr: must be above 0'),
    'a prefetcher': (('datasets', 'train', 'prefetch_mode'), 'gpu', "'gpu' is none of 'cpu', 'cuda'"),
    'a gap': (
        ('train',),
        {'total_iter': 4, 'pixel_opt': {'loss_weight': 8, 'stop': 2}, 'pyramid_opt': {'loss_weight': 1, 'start': 4}},
        'no loss term of the generator is on in iteration 3',
    ),
}


@pytest.mark.parametrize('what', BAD)
def test_a_fault_in_the_options_is_one_line_and_makes_nothing(folder, capfd, what):
    place, value, expected = BAD[what]
    assert tiny_run.start(with_key(place, value)) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and expected in lines[0]
    assert sorted(path.name for path in folder.iterdir()) == ['faces', 'run.yml']


def test_a_folder_without_a_picture_is_one_line(folder, capfd):
    (folder / 'empty').mkdir()
    assert tiny_run.start(with_key(('datasets', 'train', 'dataroot_gt'), 'empty')) == 2
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and 'empty' in lines[0]


def test_an_error_of_a_loader_worker_is_one_line(folder, capfd):
    options = with_key(('datasets', 'train', 'max_bad_images'), 0)
    options['datasets']['train']['num_worker_per_gpu'] = 1
    del options['datasets']['val']
    for name in ('0.png', '1.png', '2.png', '3.png', '4.png', '5.png'):
        path = folder / 'faces' / name
        path.write_bytes(path.read_bytes()[:60])
    assert tiny_run.start(options) == 2
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith('error: ') and '.png' in last and 'Traceback' not in last


def test_a_test_run_scores_and_shows_what_was_trained(folder):
    assert tiny_run.start(tiny_run.options(train={'total_iter': 2})) == 0
    options = tiny_run.options(path={'pretrain_network_g': 'experiments/tiny/models/net_g_latest.pth'})
    options['datasets'] = {'test': {**options['datasets']['val'], 'name': 'three'}}
    options['val']['save_img'] = True
    for section in ('train', 'network_d', 'network_d_component'):
        del options[section]
    assert tiny_run.start(options, command='test') == 0
    results = folder / 'results/tiny'
    assert len(list((results / 'visualization/three').glob('*_tiny.png'))) == 3
    assert 'Validation three: 3 faces  psnr' in next(results.glob('*.log')).read_text(encoding='utf-8')


def test_a_test_run_without_weights_is_refused(folder, capfd):
    options = tiny_run.options()
    del options['datasets']['train']
    assert tiny_run.start(options, command='test') == 2
    assert 'path.pretrain_network_g: missing' in capfd.readouterr().err
