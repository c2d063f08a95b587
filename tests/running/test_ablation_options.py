"""Each ablation of Table 5 differs from the full run in exactly the keys it is about."""

from pathlib import Path

import pytest

from mmrbgan.running.options.run_yml import load_yml

OPTIONS = Path(__file__).parents[2] / 'options'
GONE = object()
ABLATIONS = {
    'no_mmrb': {'network_g.use_mmrb': False, 'path.pretrain_network_g': 'weights/no_mmrb/net_g.pth'},
    'no_freezed': {'network_d.freeze_layers': 0},
    'no_local_d': {'network_d_component.type': GONE, 'train.component_opt.loss_weight': GONE},
    'no_finetune_freezed': {'network_d.freeze_layers': 0, 'train.optim_g.lr_prior': 0},
    'no_face_preserving': {
        'network_identity.type': GONE,
        'train.identity_opt.loss_weight': GONE,
        'train.identity_opt.weights': GONE,
    },
}


def flatten(options, place=''):
    if not isinstance(options, dict):
        return {place: options}
    return {
        name: value
        for key, part in options.items()
        for name, value in flatten(part, f'{place}.{key}'.lstrip('.')).items()
    }


def differences(name):
    """Key -> value in the ablation, for every key that is not as in the full run."""
    full, other = (flatten(load_yml(OPTIONS / path)) for path in ('train_mmrbgan.yml', f'ablation/{name}.yml'))
    keys = full.keys() | other.keys()
    return {key: other.get(key, GONE) for key in keys if full.get(key, GONE) != other.get(key, GONE)}


@pytest.mark.parametrize('name', ABLATIONS)
def test_ablation_differs_in_its_keys_alone(name):
    assert differences(name) == ABLATIONS[name] | {'name': name}


def test_every_ablation_is_known_here():
    assert {path.stem for path in (OPTIONS / 'ablation').iterdir()} == ABLATIONS.keys()
