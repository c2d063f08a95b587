"""The MMRB against Eq. 4-10 of the paper, written out."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import mmrbgan_arch as arch
from mmrbgan_arch.support.errors import UsageError

CONVOLUTIONS = ('half3', 'half5', 'full3', 'full5', 'fuse')
CHANNELS = 6


@pytest.fixture
def block():
    """Random weights, biases and slopes in float64."""
    torch.manual_seed(0)
    block = arch.MMRB(CHANNELS).double()
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.normal_()
    return block


@pytest.fixture
def x():
    return torch.randn(2, CHANNELS, 9, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def sigma(x, slope):
    return x.clamp(min=0) + slope * x.clamp(max=0)


def written_out(block, x, active=CONVOLUTIONS):
    """Eq. 4-10, with the activations of ``active`` alone."""

    def mapping(name, x):  # F(., W) of Eq. 5-9
        part = block.get_submodule(name)
        weight = part.weight / (part.weight[0].numel()) ** 0.5  # equalized
        mapped = F.conv2d(x, weight, part.bias, padding=weight.shape[-1] // 2)
        return sigma(mapped, part.prelu.weight) if name in active else mapped

    x1, x2 = x[:, : CHANNELS // 2], x[:, CHANNELS // 2 :]  # Eq. 4
    c1 = torch.cat([mapping('half3', x1), mapping('half5', x2)], dim=1)  # Eq. 5, 6
    c2 = torch.cat([mapping('full3', c1), mapping('full5', c1)], dim=1)  # Eq. 7, 8
    return x + mapping('fuse', c2)  # Eq. 9, 10


@torch.no_grad()
def test_computes_equations_4_to_10(block, x):
    torch.testing.assert_close(block(x), written_out(block, x), rtol=0, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_every_activation_takes_part(block, x, name):
    """Without any one of the five the block is another."""
    others = [other for other in CONVOLUTIONS if other != name]
    assert (block(x) - written_out(block, x, others)).abs().max() > 0.1


@torch.no_grad()
def test_kernels_are_of_size_3_5_and_1(block):
    sizes = [tuple(block.get_submodule(name).weight.shape) for name in CONVOLUTIONS]
    assert sizes == [(3, 3, 3, 3), (3, 3, 5, 5), (6, 6, 3, 3), (6, 6, 5, 5), (6, 12, 1, 1)]
    assert [block.get_submodule(name).prelu.weight.numel() for name in CONVOLUTIONS] == [1] * 5
    assert all(float(arch.MMRB(2).get_submodule(name).prelu.weight) == 0.25 for name in CONVOLUTIONS)


@torch.no_grad()
def test_is_not_linear(block, x):
    """The second difference of an affine map is zero."""
    step = torch.randn_like(x)
    second = block(x + step) - 2 * block(x) + block(x - step)
    assert second.abs().mean() > 0.1 * (block(x) - x).abs().mean()


def test_weights_of_the_old_block_are_refused_in_one_line(tmp_path):
    """Version 0.1 had one PReLU per block, after the sum."""
    state = arch.MMRBGAN(16, style_dim=8, num_mlp=1, narrow=1 / 64).state_dict()
    old = {key: value for key, value in state.items() if not key.endswith('prelu.weight')}
    old |= {f'encoder.blocks.{i}.prelu.weight': torch.ones(8) for i in range(1)}
    torch.save({'params': old}, tmp_path / 'old.pth')
    with pytest.raises(UsageError, match=r'old\.pth: .*MMRBs are those of version 0\.1') as caught:
        arch.load_network(tmp_path / 'old.pth')
    assert '\n' not in str(caught.value)
