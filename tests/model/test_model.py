"""The steps of MMRBGANModel: what learns from what, what is frozen, what the moving average does."""

import copy
import typing

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_data.components import NAMES

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
SIZE = tiny_run.SIZE


def make_options(**train):
    """Options of a tiny run in this process, with the keys that the runner adds."""
    folders = ('experiments_root', 'models', 'training_states', 'visualization')
    options = tiny_run.options(train=train, path=dict.fromkeys(folders, '.'))
    return {**options, 'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1}


def make_model(**train):
    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    torch.manual_seed(0)
    return MMRBGANModel(make_options(**train))


def make_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    known = {'left_eye': [16, 24, 32, 40], 'right_eye': [36, 24, 52, 40], 'mouth': [24, 40, 44, 60]}
    boxes = torch.tensor([known.get(name, [24, 24, 44, 44]) for name in NAMES], dtype=torch.float32).expand(2, -1, 4)
    images = torch.rand(2, 2, 3, SIZE, SIZE, generator=generator) * 2 - 1
    return {
        'lq': images[0],
        'gt': images[1],
        'component_boxes': boxes,
        'component_mask': torch.ones(2, len(NAMES)).bool(),
    }


def run_steps(model, count=1, first=1):
    for iteration in range(first, first + count):
        model.update_learning_rate(iteration)
        model.feed_data(make_batch(iteration))
        model.optimize_parameters(iteration)
    return model


def snapshot(model):
    return {name: copy.deepcopy(network.state_dict()) for name, network in model.networks.items()}


def changed(model, before, name):
    return {
        key for key, value in model.networks[name].state_dict().items() if not torch.equal(value, before[name][key])
    }


def test_building_twice_from_one_dict_works_and_leaves_it_alone():
    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    options = make_options()
    before = copy.deepcopy(options)
    MMRBGANModel(options), MMRBGANModel(options)
    assert options == before


def test_a_step_moves_every_trained_network():
    model = make_model()
    before = snapshot(model)
    run_steps(model)
    assert all(changed(model, before, name) for name in model.networks)


def test_frozen_layers_keep_every_bit_through_penalties_and_toggles():
    model = make_model(r1_opt={'loss_weight': 10, 'interval': 1})
    before = snapshot(model)
    for parameter in model.networks['net_d'].parameters():
        parameter.requires_grad_(True)  # what a foreign trainer does
    run_steps(model, 3)
    moved = changed(model, before, 'net_d')
    assert moved and not {key for key in moved if key.startswith('layers.0.')}


def test_generator_step_gives_the_discriminators_no_gradient():
    model = make_model()
    model.feed_data(make_batch())
    model.phases[0].backward(model._forward(1, model._batch()), model.scaler, 1)
    for network in (model.networks[name] for name in ('net_d', *(f'net_d_{name}' for name in NAMES))):
        assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize('number', range(1, 2 + len(NAMES)))
def test_discriminator_steps_give_the_generator_no_gradient(number):
    model = make_model()
    model.feed_data(make_batch())
    phase = model.phases[number]
    phase.backward(model._forward(1, model._batch()), model.scaler, 1)
    assert all(parameter.grad is None for parameter in model.networks['net_g'].parameters())
    assert any(parameter.grad is not None for parameter in phase.parameters)


@pytest.mark.parametrize('term', ['gan_opt', 'component_opt', 'pixel_opt', 'pyramid_opt'])
def test_each_term_alone_trains_the_generator(term):
    off = dict.fromkeys(('pixel_opt', 'pyramid_opt', 'gan_opt', 'component_opt', 'r1_opt'))
    model = make_model(**{**off, term: {'loss_weight': 1}})
    before = snapshot(model)
    run_steps(model)
    assert changed(model, before, 'net_g')


def test_moving_average_follows_by_the_decay():
    model = make_model(ema_decay=0.75)
    before = snapshot(model)
    run_steps(model)
    now, old = model.networks['net_g'].state_dict(), before['net_g']
    for key, value in model.networks['net_g_ema'].state_dict().items():
        torch.testing.assert_close(value, 0.75 * old[key] + 0.25 * now[key])


def test_moving_average_copies_buffers():
    model = make_model()
    for network in (model.networks['net_g'], model.networks['net_g_ema']):
        network.register_buffer('count', torch.zeros(()))
    model.networks['net_g'].count.fill_(5)
    model._update_ema()
    assert model.networks['net_g_ema'].count == 5


def test_five_learning_rates_are_logged_in_order():
    rates = {'lr_codec': 2e-3, 'lr_prior': 2e-4, 'lr_noise': 1e-3}
    model = make_model(optim_g=rates, optim_d={'lr': 2e-5}, optim_component={'lr': 5e-3})
    assert model.get_current_learning_rate() == [2e-3, 2e-4, 1e-3, 2e-5, 5e-3]


def test_warm_up_ends_at_the_base_rate_and_milestones_follow():
    model = make_model(warmup_iter=4, scheduler={'milestones': [6], 'gamma': 0.5}, optim_g={'lr_codec': 0.1})
    rates = []
    for iteration in range(1, 8):
        model.update_learning_rate(iteration)
        rates.append(model.get_current_learning_rate()[0])
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05])


def test_a_rate_of_zero_keeps_the_prior():
    model = make_model(optim_g={'lr_prior': 0.0, 'lr_noise': 0.0})
    before = snapshot(model)
    run_steps(model, 2)
    assert not {key for key in changed(model, before, 'net_g') if key.startswith('prior.')}


def test_faces_without_boxes_train_without_component_loss():
    model = make_model()
    before = snapshot(model)
    batch = make_batch()
    del batch['component_boxes'], batch['component_mask']
    model.feed_data(batch)
    model.optimize_parameters(1)
    assert model.get_current_log()['l_g_component'] == 0
    assert changed(model, before, 'net_g') and not changed(model, before, 'net_d_mouth')


def test_gradient_penalty_comes_at_its_interval():
    model = make_model(r1_opt={'loss_weight': 10, 'interval': 2})
    logged = ['l_d_r1' in run_steps(model, 1, first).get_current_log() for first in (1, 2, 3, 4)]
    assert logged == [False, True, False, True]


def test_losses_fall_on_one_batch():
    model = make_model(gan_opt=None, component_opt=None, r1_opt=None)
    losses = []
    batch = make_batch()
    batch['lq'] = batch['gt'] / 2  # the network starts as the identity and has to learn contrast
    for iteration in range(1, 16):
        model.feed_data(batch)
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_g_pix'])
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize('metric', ['calculate_niqe', 'calculate_niqe_fast'])
@pytest.mark.parametrize(('height', 'width', 'border'), [(64, 64, 0), (128, 128, 0), (96, 192, 4)])
def test_niqe_is_left_out_for_pictures_with_less_than_two_blocks(metric, height, width, border):
    import numpy as np

    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_model.metric_entries import score

    small = np.zeros((height, width, 3), np.uint8)
    assert score(small, small, {'type': metric, 'crop_border': border}) is None


def test_niqe_of_two_blocks_is_computed():
    import numpy as np

    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_model.metric_entries import score

    face = np.random.default_rng(0).integers(0, 256, (96, 192, 3), np.uint8)
    values = [score(face, face, {'type': name, 'crop_border': 0}) for name in ('calculate_niqe', 'calculate_niqe_fast')]
    assert values[0] == pytest.approx(values[1], abs=1e-6)


def test_another_recogniser_needs_its_own_weights(tmp_path):
    from mmrbgan_arch import MMRBGANMobileFaceNet
    from mmrbgan_arch.support.errors import UsageError
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    options = make_options(identity_opt={'loss_weight': 1})
    options['network_identity'] = {'type': 'MMRBGANMobileFaceNet'}
    with pytest.raises(UsageError, match=r'train.identity_opt.weights: missing; name the weights file of MMRBGANMob'):
        MMRBGANModel(copy.deepcopy(options))
    torch.save(MMRBGANMobileFaceNet().state_dict(), tmp_path / 'faces.pth')
    options['train']['identity_opt']['weights'] = str(tmp_path / 'faces.pth')
    model = run_steps(MMRBGANModel(options))
    assert model.log_dict['l_g_identity'] > 0


def test_a_generator_without_groups_and_pyramid_is_one_line_that_says_what_is_missing():
    import mmrbgan.plugin  # noqa: F401
    from mmrbgan_arch.support.errors import UsageError
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    options = {**make_options(), 'network_g': {'type': 'MMRBGANClassical', 'method': 'unsharp'}}
    with pytest.raises(UsageError, match=r'cannot train MMRBGANClassical.*parameter_groups\(\).*return_pyramid'):
        MMRBGANModel(options)


def test_every_field_that_is_a_term_of_the_generator_has_its_builder():
    from mmrbgan_model.loss_terms import TERMS
    from mmrbgan_model.options import TrainOptions

    typed = {name for name, kind in typing.get_type_hints(TrainOptions).items() if 'Term' in str(kind)}
    assert typed - {'r1_opt'} == set(TERMS)
