"""What every network promises: finite output, gradients where they belong, keys and shapes that never change."""

import copy
import functools
import hashlib

import pytest
import torch

import mmrbgan_arch as arch
from mmrbgan_arch.mmrbgan_arch import channel_widths


@functools.cache
def fresh_arcface():
    """Its last layer alone has 17 M weights, which take a second to draw."""
    return arch.MMRBGANArcFace()


def arcface():
    """A copy for each test, which may change it."""
    return copy.deepcopy(fresh_arcface())


SMALL = {'style_dim': 16, 'num_mlp': 2, 'narrow': 1 / 64}
NETWORKS = {
    'MMRB': (lambda size: arch.MMRB(8), 8),
    'MMRBGAN': (lambda size: arch.MMRBGAN(size, **SMALL), 3),
    'MMRBGAN without MMRB': (lambda size: arch.MMRBGAN(size, use_mmrb=False, **SMALL), 3),
    'MMRBGANDiscriminator': (lambda size: arch.MMRBGANDiscriminator(size, narrow=1 / 64, freeze_layers=2), 3),
    'MMRBGANComponentDiscriminator': (lambda size: arch.MMRBGANComponentDiscriminator(8), 3),
    'MMRBGANArcFace': (lambda size: arcface(), 3),
    'MMRBGANMobileFaceNet': (lambda size: arch.MMRBGANMobileFaceNet(), 3),
}
ALL = pytest.mark.parametrize('name', NETWORKS)
FIXED = ('MMRBGANArcFace', 'MMRBGANMobileFaceNet')


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)


def build(name, size=32):
    make, channels = NETWORKS[name]
    return make(size), torch.rand(2, channels, size, size) * 2 - 1


def outputs(network, x):
    """Everything a training step can use of a network, as one list of tensors."""
    if isinstance(network, arch.MMRBGAN):
        image, pyramid = network(x, return_pyramid=True)
        return [image, *pyramid]
    return [network(x)]


def leave_the_start(network):
    """Move every parameter a little, since layers behind a zero-started one get no gradient until it has moved."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


@ALL
@pytest.mark.parametrize('size', [32, 64])
def test_output_is_finite(name, size):
    network, x = build(name, size)
    assert all(output.isfinite().all() for output in outputs(network, x))


@ALL
def test_gradient_reaches_every_trainable_parameter(name):
    network, x = build(name)
    leave_the_start(network)
    x.requires_grad_()
    sum(output.square().sum() for output in outputs(network, x)).backward()
    without = [key for key, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert without == []
    assert x.grad.any()


@pytest.mark.parametrize('name', [name for name in NETWORKS if name != 'MMRBGANDiscriminator'])
def test_batch_of_two_equals_two_batches_of_one(name):
    """Not so the discriminator: its minibatch standard deviation looks at the whole batch on purpose."""
    network, x = build(name)
    with torch.no_grad():
        together = network.eval()(x)
        apart = torch.cat([network(sample[None]) for sample in x])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', [name for name in NETWORKS if name not in FIXED])
def test_seed_of_torch_decides_the_weights(name):
    first, second = [], []
    for states in (first, second):
        torch.manual_seed(1)
        states.extend(build(name)[0].state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize('name', FIXED)
def test_recogniser_has_no_trainable_parameter_and_stays_in_evaluation_mode(name):
    network, _ = build(name)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.train().modules())


def layout_of(network):
    """Digest of all keys and shapes, in no order."""
    lines = sorted(f'{key} {tuple(value.shape)}' for key, value in network.state_dict().items())
    return len(lines), hashlib.sha256('\n'.join(lines).encode()).hexdigest()[:16]


PINNED = {
    'MMRBGAN': (260, 'e839ab0f815eb50f'),
    'MMRBGANDiscriminator': (43, '829286ba0a61145c'),
    'MMRBGANComponentDiscriminator': (12, '13a0426a0fb33e1b'),
    'MMRBGANArcFace': (181, 'c6323f0cd87ae194'),
    'MMRBGANMobileFaceNet': (307, 'dbde16c0a25344b0'),
}


@pytest.mark.parametrize('name', PINNED)
def test_keys_and_shapes_never_change(name):
    """Published checkpoints depend on them; a new layout needs a converter for the old one."""
    network = {
        'MMRBGAN': lambda: arch.MMRBGAN(512, narrow=1 / 16),
        'MMRBGANDiscriminator': lambda: arch.MMRBGANDiscriminator(512, narrow=1 / 16),
        'MMRBGANComponentDiscriminator': arch.MMRBGANComponentDiscriminator,
        'MMRBGANArcFace': arcface,
        'MMRBGANMobileFaceNet': arch.MMRBGANMobileFaceNet,
    }[name]()
    assert layout_of(network) == PINNED[name]


# Zero-started parts


def test_fresh_mmrb_returns_its_input_bit_for_bit():
    block, x = arch.MMRB(8), torch.randn(1, 8, 16, 16)
    with torch.no_grad():
        for slope in (0.25, -3.0, 1.0):
            block.fuse.prelu.weight.fill_(slope)
            assert torch.equal(block(x), x)


def test_zero_started_layers_get_a_gradient_at_the_first_step():
    network, x = build('MMRBGAN')
    network(x).square().sum().backward()
    zero_started = [block.fuse.weight for block in network.encoder.blocks]
    zero_started += [up.conv.weight for up in network.decoder.ups]
    assert len(zero_started) == 5
    assert not any(weight.any() for weight in zero_started)
    assert all(weight.grad.any() for weight in zero_started)


def test_layers_behind_zero_started_ones_get_a_gradient_at_the_second_step():
    network, x = build('MMRBGAN')
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        network(x).square().sum().backward()
        optimizer.step()
    behind = [block.get_submodule(name).weight for block in network.encoder.blocks for name in ('half3', 'full5')]
    assert all(weight.grad.any() for weight in behind)


# FreezeD


def frozen_of(network):
    """The tensors of the frozen layers, in copies."""
    return {
        key: value.clone() for key, value in network.state_dict().items() if key.startswith(('layers.0', 'layers.1'))
    }


def test_frozen_layers_have_no_parameters_and_keep_their_keys():
    frozen = arch.MMRBGANDiscriminator(32, narrow=1 / 64, freeze_layers=2)
    free = arch.MMRBGANDiscriminator(32, narrow=1 / 64, freeze_layers=0)
    assert not any(key.startswith(('layers.0', 'layers.1')) for key, _ in frozen.named_parameters())
    assert set(frozen.state_dict()) == set(free.state_dict())


@pytest.mark.parametrize('optimizer', [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop])
def test_no_optimizer_moves_a_frozen_bit(optimizer):
    network, x = build('MMRBGANDiscriminator')
    before = frozen_of(network)
    network.requires_grad_(False)
    network.requires_grad_(True)  # what BasicSR's GAN models do in every step
    steps = optimizer(network.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        steps.zero_grad()
        network(x).sum().backward()
        steps.step()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


def test_average_of_a_discriminator_keeps_frozen_bits():
    network, x = build('MMRBGANDiscriminator')
    before = frozen_of(network)
    average = torch.optim.swa_utils.AveragedModel(network, use_buffers=True)
    network(x).sum().backward()
    average.update_parameters(network)
    average.update_parameters(network)
    assert all(torch.equal(value, average.module.state_dict()[key]) for key, value in before.items())


def test_parallel_training_keeps_frozen_bits(tmp_path):
    network, x = build('MMRBGANDiscriminator')
    before = frozen_of(network)
    distributed = torch.distributed
    distributed.init_process_group(
        'gloo', store=distributed.FileStore(str(tmp_path / 'store'), 1), rank=0, world_size=1
    )
    try:
        parallel = torch.nn.parallel.DistributedDataParallel(network)
        steps = torch.optim.Adam(parallel.parameters(), lr=0.1)
        parallel(x).sum().backward()
        steps.step()
    finally:
        distributed.destroy_process_group()
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in before.items())


def test_frozen_weights_load_from_a_file():
    source = arch.MMRBGANDiscriminator(32, narrow=1 / 64, freeze_layers=0)
    frozen = arch.MMRBGANDiscriminator(32, narrow=1 / 64, freeze_layers=2)
    frozen.load_state_dict(source.state_dict())
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in frozen.state_dict().items())


def test_no_backward_pass_goes_through_frozen_layers():
    network, x = build('MMRBGANDiscriminator')
    for layer in network.layers[:2]:
        x = layer(x)
        assert x.grad_fn is None
    assert network.layers[2](x).grad_fn is not None


def test_gradient_still_reaches_the_image_through_frozen_layers():
    network, x = build('MMRBGANDiscriminator')
    x.requires_grad_()
    network(x).sum().backward()
    assert x.grad.any()


@pytest.mark.parametrize('layers', [-1, 5])
def test_frozen_layers_beyond_the_network_are_refused(layers):
    with pytest.raises(ValueError, match=r'freeze_layers must lie in 0\.\.4'):
        arch.MMRBGANDiscriminator(32, narrow=1 / 64, freeze_layers=layers)


# Options


@pytest.mark.parametrize('size', [4, 48, 4096])
def test_size_that_is_no_power_of_two_in_range_is_refused(size):
    with pytest.raises(ValueError, match='power of two'):
        arch.MMRBGAN(size, **SMALL)


def test_widths_that_vanish_are_refused():
    with pytest.raises(ValueError, match=r'no channel at \[256, 512\] px'):
        arch.MMRBGAN(512, narrow=1 / 128, channel_multiplier=1)


def test_odd_widths_are_refused_where_an_mmrb_stands():
    with pytest.raises(ValueError, match=r'odd widths {8: 3, 16: 3}'):
        arch.MMRBGAN(32, narrow=3 / 512)


def test_odd_widths_work_without_mmrb():
    x = torch.rand(1, 3, 32, 32)
    assert arch.MMRBGAN(32, 16, narrow=3 / 512, use_mmrb=False)(x).shape == x.shape


@pytest.mark.parametrize('channels', [0, 1, 7])
def test_mmrb_refuses_channels_that_cannot_be_halved(channels):
    with pytest.raises(ValueError, match='must be even'):
        arch.MMRB(channels)


@pytest.mark.parametrize('shape', [(1, 3, 64, 64), (1, 1, 32, 32), (3, 32, 32)])
def test_image_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r'takes \(b, 3, 32, 32\)'):
        build('MMRBGAN')[0](torch.zeros(shape))


def test_widths_are_those_of_gpen():
    by_size = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}
    assert channel_widths(1024, 2, 1.0) == by_size


def test_every_scale_but_the_first_and_the_last_has_an_mmrb():
    network = arch.MMRBGAN(512, style_dim=8, num_mlp=1, narrow=1 / 16)
    assert [block.fuse.weight.shape[0] for block in network.encoder.blocks] == [8, 16, 32, 32, 32, 32]


def test_parameter_groups_hold_every_parameter_once():
    network, _ = build('MMRBGAN')
    groups = network.parameter_groups()
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(id(parameter) for parameter in network.parameters())
    assert len(groups['noise']) == len(network.prior.blocks)


# Image range


def test_image_range_changes_the_scale_of_images_alone():
    network, x = build('MMRBGAN')
    unit = arch.MMRBGAN(32, image_range=[0, 1], **SMALL)
    unit.load_state_dict(network.state_dict())
    with torch.no_grad():
        image, pyramid = network(x, return_pyramid=True)
        unit_image, unit_pyramid = unit(x / 2 + 0.5, return_pyramid=True)
        for ours, theirs in zip([unit_image, *unit_pyramid], [image, *pyramid], strict=True):
            torch.testing.assert_close(ours, theirs / 2 + 0.5, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(unit.latents(x / 2 + 0.5), network.latents(x), rtol=1e-4, atol=1e-5)


def test_empty_image_range_is_refused():
    with pytest.raises(ValueError, match='black < white'):
        arch.MMRBGAN(32, image_range=(1, 1), **SMALL)


def test_latents_are_those_of_the_parts():
    network, x = build('MMRBGAN')
    z, w = network.latents(x)
    assert torch.equal(z, network.encoder(x)[0])
    assert torch.equal(w, network.prior.map(z))


def test_pyramid_goes_from_8_px_to_the_image():
    network, x = build('MMRBGAN')
    assert [level.shape[-1] for level in network(x, return_pyramid=True)[1]] == [8, 16, 32]


def test_component_discriminator_judges_patches():
    assert arch.MMRBGANComponentDiscriminator(4)(torch.zeros(2, 3, 80, 60)).shape == (2, 1, 20, 15)
