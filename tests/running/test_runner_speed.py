"""Each way to save time or memory changes the gradients of a step by no more than its kind of rounding."""

import functools

import pytest
import tiny_run
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_data.components import NAMES

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


def build(folder, **train):
    """A model of the tiny options; network_d stays out where batches are cut, for its minibatch statistics."""
    from mmrbgan.running.options.run_yml import fill_defaults
    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    opt = fill_defaults(tiny_run.options(train=train), is_train=True)
    paths = {key: str(folder) for key in ('models', 'training_states', 'experiments_root', 'visualization')}
    torch.manual_seed(0)
    return MMRBGANModel({**opt, 'dist': False, 'is_train': True, 'path': paths})


def batch():
    generator = torch.Generator().manual_seed(1)
    gt = torch.nn.functional.interpolate(
        torch.rand(2, 3, 8, 8, generator=generator) * 2 - 1, tiny_run.SIZE, mode='bilinear'
    )
    known = {'left_eye': [16, 24, 30, 38], 'right_eye': [34, 24, 48, 38], 'mouth': [22, 40, 44, 56]}
    boxes = torch.tensor([known.get(name, [24, 24, 44, 44]) for name in NAMES], dtype=torch.float32).expand(2, -1, 4)
    mask = torch.ones(2, len(NAMES), dtype=torch.bool)
    return {'lq': gt.roll(1, 3), 'gt': gt, 'component_boxes': boxes, 'component_mask': mask}


def gradients(folder, iteration=1, **train):
    """Gradients by network after one step, as one vector each."""
    torch.set_num_threads(1)
    model = build(folder, **train)
    with torch.no_grad():  # the blocks that start at zero would hide what lies behind them
        for parameter in model.networks['net_g'].parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)) * 0.05)
    model.feed_data(batch())
    for _ in range(20):  # fp16 leaves steps out until its scale fits; the weights stay as they were
        model.optimize_parameters(iteration)
        if not model.scaler.is_enabled() or all(p.grad.isfinite().all() for p in model.networks['net_g'].parameters()):
            break
    return {
        name: torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])
        for name, network in model.networks.items()
        if name != 'net_g_ema'
    }


def distance(one, other):
    """The largest relative distance between the gradients of a network."""
    return max(float((one[name] - other[name]).norm() / other[name].norm()) for name in other)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    return gradients(tmp_path_factory.mktemp('plain'), iteration=3)


def test_recomputed_activations_give_the_same_bits(tmp_path, plain):
    assert distance(gradients(tmp_path, 3, grad_checkpointing=True), plain) == 0


def test_recomputing_saves_memory_for_activations(tmp_path):
    def kept(**train):
        model = build(tmp_path, **train)
        sizes = []

        def keep(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model.networks['net_g'](batch()['lq'])
        return sum(sizes)

    assert kept(grad_checkpointing=True) < 0.6 * kept()


def test_a_copy_of_a_recomputing_network_uses_its_own_weights(tmp_path):
    import copy

    model = build(tmp_path, grad_checkpointing=True)
    twin = copy.deepcopy(model.networks['net_g'])
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert not twin(batch()['lq']).any()


def test_channels_last_is_rounding(tmp_path, plain):
    assert distance(gradients(tmp_path, 3, channels_last=True), plain) < 1e-4


def test_a_batch_in_parts_is_rounding(tmp_path):
    whole = gradients(tmp_path, gan_opt=None, r1_opt=None)
    parts = gradients(tmp_path, gan_opt=None, r1_opt=None, accumulate=2)
    assert distance(parts, whole) < 1e-4


def test_a_batch_that_cannot_be_cut_is_an_error(tmp_path):
    from mmrbgan_arch.support.errors import UsageError

    with pytest.raises(UsageError, match='accumulate: a batch of 2 cannot be cut into 3'):
        gradients(tmp_path, accumulate=3)


def test_compiled_networks_are_rounding_and_keep_their_keys(tmp_path, plain, monkeypatch):
    monkeypatch.setattr(torch, 'compile', functools.partial(torch.compile, backend='eager'))
    assert distance(gradients(tmp_path, 3, compile=True), plain) < 1e-4
    assert not [key for key in build(tmp_path, compile=True).networks['net_g'].state_dict() if '_orig_mod' in key]


def test_fused_adam_takes_the_same_step(tmp_path):
    def weights(**train):
        model = build(tmp_path, **train)
        model.feed_data(batch())
        model.optimize_parameters(1)
        return torch.cat([p.detach().flatten() for p in model.networks['net_g'].parameters()])

    before = torch.cat([p.detach().flatten() for p in build(tmp_path).networks['net_g'].parameters()])
    plain, fused = weights(), weights(fused_adam=True)
    assert (plain - before).abs().max() > 1e-4
    assert (plain - fused).abs().max() < 1e-6


@pytest.mark.parametrize(('kind', 'bound'), [('bf16', 0.15), ('fp16', 0.03)])
def test_mixed_precision_is_its_rounding(tmp_path, kind, bound):
    """Eight bits of mantissa in bf16, eleven in fp16, through some thirty layers and back."""
    full = gradients(tmp_path, gan_opt=None, r1_opt=None, component_opt=None)
    mixed = gradients(tmp_path, gan_opt=None, r1_opt=None, component_opt=None, amp=kind)
    assert 0 < distance(mixed, full) < bound


def test_fp16_leaves_out_a_step_that_overflowed(tmp_path):
    model = build(tmp_path, amp='fp16')
    before = [p.clone() for p in model.networks['net_g'].parameters()]
    model.scaler = torch.amp.GradScaler('cpu', init_scale=1e30)
    model.feed_data(batch())
    model.optimize_parameters(1)
    after = model.networks['net_g'].parameters()
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert model.scaler.get_scale() < 1e30


def test_on_a_cpu_cuda_graph_changes_nothing(tmp_path, plain):
    assert distance(gradients(tmp_path, 3, cuda_graph=True), plain) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_replayed_steps_give_the_gradients_of_plain_ones(tmp_path):
    for iteration in (1, 3, 16):  # with and without the gradient penalty
        assert distance(gradients(tmp_path, iteration, cuda_graph=True), gradients(tmp_path, iteration)) < 1e-4
