"""The converted networks against GPEN's published code (fixtures) and against its formulas at other sizes."""

import gpen_reference as gpen
import numpy as np
import pytest
import torch

from mmrbgan_arch.gpen import convert_discriminator, convert_generator

TOLERANCE = 1e-4


def assert_near(ours, theirs):
    theirs = torch.as_tensor(theirs)
    assert (ours - theirs).abs().max() <= TOLERANCE * theirs.abs().max()


@pytest.fixture
def published(shared):
    with np.load(shared / 'fixtures/gpen_64_io.npz') as content:
        return {key: torch.from_numpy(content[key]) for key in content}


@pytest.fixture
def published_generator(shared):
    return convert_generator(shared / 'fixtures/gpen_64_generator.pth').eval()


@torch.no_grad()
def test_image_equals_that_of_the_published_generator(published_generator, published):
    assert_near(published_generator(published['x']), published['y'])


@torch.no_grad()
def test_latents_equal_those_of_the_published_generator(published_generator, published):
    z, w = published_generator.latents(published['x'])
    assert_near(z, published['z'])
    assert_near(w, published['w'])


@torch.no_grad()
def test_logits_equal_those_of_the_published_discriminator(shared, published):
    network = convert_discriminator(shared / 'fixtures/gpen_64_discriminator.pth').eval()
    assert_near(network(published['d_in']), published['d_out'])


@torch.no_grad()
def test_the_formulas_of_this_test_are_the_published_code(shared, published):
    state = torch.load(shared / 'fixtures/gpen_64_generator.pth', weights_only=True)
    image, z, w = gpen.generator(state, published['x'])
    assert_near(image, published['y'])
    assert_near(z, published['z'])
    assert_near(w, published['w'])
    state = torch.load(shared / 'fixtures/gpen_64_discriminator.pth', weights_only=True)
    assert_near(gpen.discriminator(state, published['d_in']), published['d_out'])


SIZES = [
    {'size': 8, 'style_dim': 16, 'num_mlp': 1, 'multiplier': 2, 'narrow': 1 / 64},
    {'size': 32, 'style_dim': 512, 'num_mlp': 8, 'multiplier': 2, 'narrow': 1 / 32},
    {'size': 64, 'style_dim': 48, 'num_mlp': 4, 'multiplier': 1, 'narrow': 1 / 16},
    {'size': 128, 'style_dim': 64, 'num_mlp': 2, 'multiplier': 1, 'narrow': 1 / 32},
    {'size': 256, 'style_dim': 32, 'num_mlp': 5, 'multiplier': 2, 'narrow': 1 / 64},
]


def name_of(sizes):
    return '-'.join(f'{value:g}' for value in sizes.values())


@pytest.mark.parametrize('sizes', SIZES, ids=name_of)
@torch.no_grad()
def test_generator_of_any_size_computes_what_gpen_computes(tmp_path, sizes):
    state = gpen.random_generator(**sizes)
    torch.save(state, tmp_path / 'G.pth')
    x = torch.rand(2, 3, sizes['size'], sizes['size'], generator=torch.Generator().manual_seed(1)) * 2 - 1
    network = convert_generator(tmp_path / 'G.pth').eval()
    image, z, w = gpen.generator(state, x)
    assert_near(network(x), image)
    assert_near(network.latents(x)[0], z)
    assert_near(network.latents(x)[1], w)


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('sizes', SIZES, ids=name_of)
@torch.no_grad()
def test_discriminator_of_any_size_computes_what_gpen_computes(tmp_path, sizes, batch):
    options = {key: sizes[key] for key in ('size', 'multiplier', 'narrow')}
    state = gpen.random_discriminator(**options)
    torch.save(state, tmp_path / 'D.pth')
    x = torch.rand(batch, 3, sizes['size'], sizes['size'], generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert_near(convert_discriminator(tmp_path / 'D.pth').eval()(x), gpen.discriminator(state, x))


@torch.no_grad()
def test_width_that_a_power_of_two_does_not_give(tmp_path):
    state = gpen.random_generator(size=64, narrow=0.043, multiplier=1)  # 22 channels, 11 at 64 px
    torch.save(state, tmp_path / 'G.pth')
    x = torch.zeros(1, 3, 64, 64)
    assert_near(convert_generator(tmp_path / 'G.pth')(x), gpen.generator(state, x)[0])
