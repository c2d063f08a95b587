import os
import sys
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
import yaml

from mmrbgan.running.runner import main, replaced
from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.exit_status import one_line

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ('gt', 'lq'):
        (tmp_path / name).mkdir()
    for i in range(7):
        picture = rng.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(f'gt/{i}.png', picture)
        cv2.imwrite(f'lq/{i}.png', cv2.GaussianBlur(picture, (3, 3), 1))
    return tmp_path


def pairs(**keys):
    return {
        'type': 'PairedImageDataset',
        'dataroot_gt': 'gt',
        'dataroot_lq': 'lq',
        'io_backend': {'type': 'disk'},
        **keys,
    }


def options(**changes):
    return {
        'name': 'tiny',
        'model_type': 'SRModel',
        'scale': 1,
        'num_gpu': 0,
        'manual_seed': 3,
        'datasets': {
            'train': pairs(gt_size=16, use_hflip=True, use_rot=True, num_worker_per_gpu=0, batch_size_per_gpu=4),
            'val': pairs(),
        },
        'network_g': {'type': 'SRVGGNetCompact', 'num_feat': 4, 'num_conv': 1, 'upscale': 1},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': 1e-3},
            'scheduler': {'type': 'MultiStepLR', 'milestones': [100]},
            'total_iter': 10,
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
        },
        'val': {'val_freq': 5, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 5, 'use_tb_logger': False},
        **changes,
    }


def start(command, content, *flags):
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    with open('run.yml', 'w', encoding='utf-8') as file:
        file.write(text)
    return main([command, '-opt', 'run.yml', *flags])


def the_log(folder):
    return next((folder / 'experiments' / 'tiny').glob('train_*.log')).read_text(encoding='utf-8')


def test_a_basicsr_with_another_pipeline_is_one_line():
    module = ModuleType('basicsr.train')
    module.__file__ = '/fork/basicsr/train.py'
    reason = r'no copy_opt_file: this command needs basicsr 1\.3\.4\.9 or later'
    with pytest.raises(UsageError, match=reason), replaced(module, {'copy_opt_file': None}):
        pass


def test_all_iterations_are_run_and_the_last_is_validated_once(folder):
    assert start('train', options()) == 0
    log = the_log(folder)
    assert 'iter:      10' in log
    assert log.count('Validation val') == 2
    state = torch.load('experiments/tiny/training_states/10.state', weights_only=True)
    assert state['iter'] == 10


def test_everything_lies_under_the_current_folder(folder):
    logger = {'print_freq': 5, 'save_checkpoint_freq': 5, 'use_tb_logger': True}
    assert start('train', options(logger=logger)) == 0
    assert {path.name for path in folder.iterdir()} == {'experiments', 'tb_logger', 'gt', 'lq', 'run.yml'}
    resolved = yaml.safe_load((folder / 'experiments/tiny/resolved_options.yml').read_text(encoding='utf-8'))
    assert resolved['manual_seed'] == 3 and resolved['versions']['torch']


def test_a_second_run_in_one_process_has_a_log_of_its_own(folder):
    assert start('train', options()) == 0
    assert start('train', options(name='other')) == 0
    assert 'iter:      10' in next((folder / 'experiments/other').glob('*.log')).read_text(encoding='utf-8')


def test_training_goes_on_from_the_newest_state_on_a_cpu(folder):
    assert start('train', options(), '--force_yml', 'train:total_iter=5') == 0
    assert start('train', options(), '--auto_resume') == 0
    logs = [path.read_text(encoding='utf-8') for path in (folder / 'experiments/tiny').glob('*.log')]
    assert any('Resuming training from epoch: 4, iter: 5' in log for log in logs)
    assert not list((folder / 'experiments').glob('*archived*'))


def test_a_truncated_state_is_skipped_with_the_reason(folder):
    assert start('train', options()) == 0
    newest = folder / 'experiments/tiny/training_states/10.state'
    newest.write_bytes(newest.read_bytes()[:100])
    (folder / 'experiments/tiny/training_states/11.tmp.state').write_bytes(b'')
    assert start('train', options(train={**options()['train'], 'total_iter': 12}), '--auto_resume') == 0
    logs = sorted((folder / 'experiments/tiny').glob('*.log'), key=lambda path: path.stat().st_mtime)
    assert '10.state: damaged' in logs[-1].read_text(encoding='utf-8')


def test_a_fresh_start_keeps_the_earlier_run(folder):
    assert start('train', options()) == 0
    assert start('train', options()) == 0
    kept = list((folder / 'experiments').glob('tiny_archived_*'))
    assert len(kept) == 1 and (kept[0] / 'models/net_g_latest.pth').is_file()


def test_a_test_run_reads_the_weights_and_writes_results(folder):
    assert start('train', options()) == 0
    content = options(path={'pretrain_network_g': 'experiments/tiny/models/net_g_latest.pth'})
    content['datasets'] = {'test': pairs(name='seven')}
    content['val']['save_img'] = True
    assert start('test', content) == 0
    assert len(list((folder / 'results/tiny/visualization/seven').glob('*_tiny.png'))) == 7


def test_numbers_without_a_dot_are_numbers(folder):
    text = yaml.safe_dump(options()).replace('0.001', '1e-3')
    assert 'lr: 1e-3' in text
    assert start('train', text, '--force_yml', 'train:optim_g:lr=2e-4', 'train:optim_g:weight_dcay=0') == 2
    assert start('train', text, '--force_yml', 'train:optim_g:lr=2e-4') == 0
    assert 'lr:(2.000e-04' in the_log(folder)


BAD = {
    'a tag': ('!!python/object/apply:os.system ["touch pwned"]', 'python/object'),
    'a typo in the model': (yaml.safe_dump(options(model_type='SRModl')), "did you mean 'SRModel'"),
    'a typo in the dataset': (
        yaml.safe_dump(options(datasets={'train': pairs(type='PairdImageDataset')})),
        "did you mean 'PairedImageDataset'",
    ),
    'a typo in the network': (
        yaml.safe_dump(options(network_g={'type': 'SRVGGNetCompact', 'num_fet': 4})),
        "did you mean 'num_feat'",
    ),
    'a typo in the logger': (yaml.safe_dump(options(logger={'print_frq': 3})), "did you mean 'print_freq'"),
    'a typo in the paths': (yaml.safe_dump(options(path={'resum_state': 'x'})), "did you mean 'resume_state'"),
    'a missing folder': (
        yaml.safe_dump(options(datasets={'train': pairs(dataroot_gt='nowhere')})),
        'there is no nowhere',
    ),
    'missing weights': (
        yaml.safe_dump(options(path={'pretrain_network_g': 'none.pth'})),
        'path.pretrain_network_g: there is no file none.pth',
    ),
    'an empty loader': (yaml.safe_dump(options()).replace('batch_size_per_gpu: 4', 'batch_size_per_gpu: 8'), 'batch'),
    'several GPUs in one process': (yaml.safe_dump(options(num_gpu=2)), 'num_gpu: 2'),
    'a key given twice': (yaml.safe_dump(options()) + 'name: again\n', "'name' comes twice"),
    'a path for a name': (yaml.safe_dump(options(name='../x')), 'cannot name a folder'),
    'no mapping': ('- 1\n', 'expected keys and values'),
    'a day that is none': ('name: 2024-99-99\n', 'month must be in 1..12'),
    'a number that is none': ('name: !!int x\n', "invalid literal for int() with base 10: 'x'"),
    'too deep': ('[' * 5000, 'nested too deeply'),
    'a mapping for the model': (yaml.safe_dump(options(model_type={'x': 1})), 'model_type'),
    'a long value': (yaml.safe_dump(options(name=[1] * 3000)), ' [...] '),
    'no total_iter': (
        yaml.safe_dump(options(train={'optim_g': {'type': 'Adam'}})),
        'train.total_iter',
    ),
}


@pytest.mark.parametrize('what', BAD)
def test_bad_input_is_one_line_and_touches_nothing(folder, capfd, what):
    content, expected = BAD[what]
    before = folder / 'experiments/tiny/models'
    before.mkdir(parents=True)
    (before / 'net_g_latest.pth').write_bytes(b'precious')
    assert start('train', content) == 2
    error = capfd.readouterr().err
    assert expected in error and error.startswith('error: ') and error.count('\n') == 1
    assert sorted(os.listdir('experiments')) == ['tiny'] and (before / 'net_g_latest.pth').read_bytes() == b'precious'
    assert not (folder / 'pwned').exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason='this machine has a GPU')
def test_a_gpu_that_is_not_there_is_an_error(folder, capfd):
    assert start('train', options(num_gpu=1)) == 2
    assert 'set num_gpu: 0' in capfd.readouterr().err


@pytest.mark.parametrize(
    ('entry', 'expected'),
    [
        ('trian:total_iter=3', "did you mean 'train'"),
        ('logger:print_frequ=3', "did you mean 'print_freq'"),
        ('train:total_itr=3', "did you mean 'total_iter'"),
        ('name:x=3', 'holds a value'),
        ('train', 'section:key=value'),
    ],
)
def test_an_override_of_an_unknown_key_names_the_nearest(folder, capfd, entry, expected):
    assert start('train', options(), '--force_yml', entry) == 2
    assert expected in capfd.readouterr().err


def test_an_override_is_never_run_as_code(folder):
    code = 'name=__import__("os").system("touch pwned")'
    assert start('train', options(), '--force_yml', code) == 2
    assert not (folder / 'pwned').exists()


def test_the_slurm_launcher_is_not_offered(folder):
    with pytest.raises(SystemExit) as caught:
        start('train', options(), '--launcher', 'slurm')
    assert caught.value.code == 2


def test_workers_and_epochs_draw_different_random_numbers():
    from mmrbgan.running import loaders

    class Draws(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return {'draw': np.random.rand()}

    def epoch(number):
        sampler = loaders.EpochSampler(Draws(), 1, 0, 1, seed=5)
        sampler.set_epoch(number)
        loader = loaders.train_loader(Draws(), {'batch_size_per_gpu': 1, 'num_worker_per_gpu': 2}, sampler, False)
        return [float(batch['draw']) for batch in loader]

    assert len({*epoch(0), *epoch(1)}) == 8
    assert epoch(1) == epoch(1)


@pytest.mark.parametrize(('total', 'expected'), [(4, 2), (6, 3), (7, 4), (8, 4)])
def test_the_epochs_reach_the_last_iteration(total, expected):
    from mmrbgan.running.loaders import last_epoch

    # One iteration done, in mid-epoch 1 with one left; two per epoch after it.
    done = 1
    assert last_epoch(total, done, start_epoch=1, first=1, per_epoch=2) == expected


def test_an_error_of_a_worker_is_one_line():
    from mmrbgan_arch.support.errors import UsageError

    text = 'Caught UsageError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n  File\n'
    error = UsageError(f'{text}mmrbgan_arch.support.errors.UsageError: datasets.train: a.png: truncated\n')
    assert one_line(error) == 'datasets.train: a.png: truncated'


def test_the_module_is_the_command_too(folder):
    import subprocess

    done = subprocess.run([sys.executable, '-m', 'mmrbgan.cli', 'train', '-opt', 'no.yml'], capture_output=True)
    assert done.returncode == 2 and b'no.yml: No such file' in done.stderr
