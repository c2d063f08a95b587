"""Twenty steps of the quick options against stored losses: no refactor changes the mathematics unseen.

``python tests/running/test_runner_losses.py`` writes the list anew, which a change of the mathematics has to say why.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmrbgan_arch import basicsr_bridge

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
ROOT = Path(__file__).parents[2]
STORED = Path(__file__).parents[1] / 'expected/quick_losses.json'
SIZE, BATCH, STEPS = 32, 2, 20


def quick_options(folder):
    """The quick run's networks, losses and rates, smaller, every term on at once, R1 every fifth step."""
    from mmrbgan.running.options.run_yml import fill_defaults, load_yml

    opt = fill_defaults(load_yml(ROOT / 'options/train_mmrbgan_quick.yml'), is_train=True)
    for term in ('gan_opt', 'component_opt', 'r1_opt'):
        opt['train'][term]['start'] = 1
    opt['train']['r1_opt']['interval'] = 5
    for network in ('network_g', 'network_d'):
        opt[network]['out_size'] = SIZE
    paths = {key: str(folder) for key in ('models', 'training_states', 'experiments_root', 'visualization')}
    return {**opt, 'num_gpu': 0, 'dist': False, 'is_train': True, 'path': paths}


def batch(number):
    """Smooth pictures from numpy alone: what other libraries compute may change with their versions."""
    rng = np.random.default_rng(number)
    small = rng.uniform(-1, 1, (BATCH, 3, 8, 8))
    gt = np.kron(small, np.ones((4, 4)))
    lq = np.kron(small[..., ::2, ::2], np.ones((8, 8)))
    box = np.array([[7, 11, 14, 18], [18, 11, 25, 18], [11, 20, 21, 28]], float)
    return {
        'lq': torch.from_numpy(lq),
        'gt': torch.from_numpy(gt),
        'component_boxes': torch.from_numpy(np.stack([box] * BATCH)),
        'component_mask': torch.ones(BATCH, 3, dtype=torch.bool),
        'gt_path': [f'{number}.png'] * BATCH,
    }


@pytest.fixture(autouse=True)
def float64():
    """Adam amplifies what rounds differently on another processor; in float64 it stays far below the tolerance."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def losses(folder):
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    torch.manual_seed(0)
    model = MMRBGANModel(quick_options(folder))
    found = []
    for iteration in range(1, STEPS + 1):
        model.update_learning_rate(iteration)
        model.feed_data(batch(iteration))
        model.optimize_parameters(iteration)
        found.append({key: value for key, value in model.log_dict.items() if key.startswith('l_')})
    return found


def test_twenty_steps_of_the_quick_options_give_the_stored_losses(tmp_path):
    expected = json.loads(STORED.read_text(encoding='utf-8'))
    found = losses(tmp_path)
    assert [sorted(step) for step in found] == [sorted(step) for step in expected]
    for number, (one, other) in enumerate(zip(found, expected, strict=True), start=1):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4), f'step {number}'


if __name__ == '__main__':
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    STORED.write_text(json.dumps(losses(Path('unused')), indent=1) + '\n', encoding='utf-8')
