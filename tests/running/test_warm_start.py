"""One training step of MMRBGANModel from converted GPEN weights: what moves, what must not, what the log shows."""

import re

import gpen_reference as gpen
import pytest
import tiny_run
import torch

from mmrbgan import cli
from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.weights_io import read_file

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
SIZES = {'narrow': 1 / 32, 'size': tiny_run.SIZE}
FROZEN = 3


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """The folder of a run that starts from `mmrbgan convert gpen`: one iteration, then a resumed one."""
    folder = tmp_path_factory.mktemp('warm')
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.save(gpen.random_generator(style_dim=16, num_mlp=2, **SIZES), 'G.pth')
        torch.save(gpen.random_discriminator(**SIZES), 'D.pth')
        command = ['convert', 'gpen', '--generator', 'G.pth', '--discriminator', 'D.pth', '--output', 'weights']
        assert cli.main(command) == 0
        tiny_run.make_faces('faces')
        paths = {'pretrain_network_g': 'weights/net_g.pth', 'pretrain_network_d': 'weights/net_d.pth'}
        options = tiny_run.options(path=paths, train={'total_iter': 1})
        options['network_d']['freeze_layers'] = FROZEN
        assert tiny_run.start(options) == 0
        options['train']['total_iter'] = 2
        assert tiny_run.start(options, '--auto_resume') == 0
    return folder


def moved(run, name, steps=1):
    """Key -> whether a single bit of it changed in the first steps."""
    before = read_file(run / f'weights/{name}.pth')['params']
    after = read_file(run / f'experiments/tiny/models/{name}_{steps}.pth')['params']
    assert before.keys() == after.keys()
    return {key: not torch.equal(before[key], after[key]) for key in before}


@pytest.mark.parametrize(
    'part',
    ['encoder.stem', 'encoder.downs', 'encoder.to_latent', 'encoder.blocks.0.fuse', 'decoder.ups', 'decoder.to_rgbs']
    + ['prior.mapping', 'prior.constant', 'prior.blocks', 'prior.to_rgbs'],
)
def test_every_part_of_codec_and_prior_moves(run, part):
    changes = {key: change for key, change in moved(run, 'net_g').items() if key.startswith(part)}
    changes.pop('encoder.blocks.0.fuse.prelu.weight', None)  # zero maps give its slope no gradient at the first step
    assert changes and all(changes.values())


def test_every_noise_weight_moves(run):
    changes = [change for key, change in moved(run, 'net_g').items() if key.endswith('noise_weight')]
    assert len(changes) == 9 and all(changes)


@pytest.mark.parametrize('steps', [1, 2], ids=['first step', 'after resuming'])
def test_no_bit_of_the_frozen_half_of_the_discriminator_moves(run, steps):
    frozen = tuple(f'layers.{i}.' for i in range(FROZEN))
    changes = [change for key, change in moved(run, 'net_d', steps).items() if key.startswith(frozen)]
    assert len(changes) == 2 + 5 * (FROZEN - 1) and not any(changes)


def test_every_other_part_of_the_discriminator_moves(run):
    frozen = tuple(f'layers.{i}.' for i in range(FROZEN))
    changes = {key: change for key, change in moved(run, 'net_d').items() if not key.startswith(frozen)}
    assert changes and all(changes.values())


def test_the_five_rates_of_the_paper_are_in_the_log(run):
    log = min((run / 'experiments/tiny').glob('train_*.log')).read_text(encoding='utf-8')
    rates = re.search(r'lr:\(([^)]*)\)', log)[1]
    assert [float(rate) for rate in rates.split(',') if rate] == [2e-3, 2e-4, 2e-3, 2e-5, 2e-3]
