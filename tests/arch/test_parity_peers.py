"""Our pure-PyTorch layers against the re-implementations on PyPI: BasicSR's StyleGAN2 and GFPGAN's ArcFace.

BasicSR's activation exists only as a compiled extension, so these tests put its formula in place; all else runs as is.
"""

import math

import pytest
import torch

from mmrbgan_arch import MMRBGANArcFace, basicsr_bridge
from mmrbgan_arch.gpen import convert_discriminator
from mmrbgan_arch.layers import BinomialFilter, ConvLayer, EqualizedLinear, UpConvLayer, pixel_norm
from mmrbgan_arch.stylegan2_arch import StyleBlock, ToRGB

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
STYLE = 16


@pytest.fixture(autouse=True)
def repeatable():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


@pytest.fixture(scope='module')
def theirs():
    """BasicSR's module of StyleGAN2, its activation in pure PyTorch."""
    basicsr_bridge.connect()
    import basicsr.archs.stylegan2_arch as stylegan2
    import basicsr.ops.fused_act.fused_act as fused

    def formula(x, bias, slope=0.2, scale=2**0.5):
        x = x + bias.view(1, -1, *[1] * (x.ndim - 2))
        return torch.where(x > 0, x, x * slope) * scale

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, 'fused_leaky_relu', formula)
        patch.setattr(stylegan2, 'fused_leaky_relu', formula)
        yield stylegan2


def assert_equal(ours, other):
    torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-5)


def copy_modulated(source, target):
    """Weights of BasicSR's modulated convolution into ours."""
    source.modulation.bias.uniform_(0.5, 1.5)
    target.weight.copy_(source.weight[0])
    target.modulation.load_state_dict(source.modulation.state_dict())


@pytest.mark.parametrize('up', [False, True], ids=['same size', 'upsampling'])
def test_modulated_convolution(theirs, up):
    reference = theirs.ModulatedConv2d(
        6, 8, 3, STYLE, sample_mode='upsample' if up else None, resample_kernel=(1, 3, 3, 1)
    )
    block = StyleBlock(6, 8, STYLE, noise_start=1.0, up=up)
    copy_modulated(reference, block.conv)
    block.bias.normal_()
    x, style = torch.randn(3, 6, 8, 8), torch.randn(3, STYLE)
    convolved = reference(x, style)
    noise = torch.randn_like(convolved)
    concatenated = torch.cat([convolved, noise], dim=1) + block.bias[:, None, None]
    assert_equal(block(x, style, noise), torch.where(concatenated > 0, 1.0, 0.2) * concatenated * math.sqrt(2))


def test_to_rgb_and_its_upsampling(theirs):
    reference = theirs.ToRGB(6, STYLE, upsample=True)
    ours = ToRGB(6, STYLE)
    copy_modulated(reference.modulated_conv, ours.conv)
    ours.bias.normal_()
    reference.bias.copy_(ours.bias.view(1, 3, 1, 1))
    x, style, image = torch.randn(2, 6, 16, 16), torch.randn(2, STYLE), torch.randn(2, 3, 8, 8)
    assert_equal(ours(x, style, image), reference(x, style, image))


def test_upsampling_of_images(theirs):
    image = torch.randn(2, 3, 7, 9)
    assert_equal(BinomialFilter(gain=4).upsample(image), theirs.UpFirDnUpsample((1, 3, 3, 1))(image))


@pytest.mark.parametrize('kernel_size', [1, 3])
def test_downsampling_convolution(theirs, kernel_size):
    reference = theirs.ConvLayer(6, 8, kernel_size, downsample=True, bias=False, activate=False)
    ours = ConvLayer(6, 8, kernel_size, down=True, activate=False)
    ours.conv.weight.copy_(reference[1].weight)
    x = torch.randn(2, 6, 16, 16)
    assert_equal(ours(x), reference(x))


def test_activated_convolution(theirs):
    reference = theirs.ConvLayer(6, 8, 3, activate=True)
    reference[1].bias.normal_()
    ours = ConvLayer(6, 8, 3)
    ours.conv.weight.copy_(reference[0].weight)
    ours.bias.copy_(reference[1].bias)
    x = torch.randn(2, 6, 16, 16)
    assert_equal(ours(x), reference(x))


def test_upsampling_convolution(theirs):
    """BasicSR has it with modulation only: with a style of ones it is plain."""
    reference = theirs.ModulatedConv2d(
        6, 8, 3, STYLE, demodulate=False, sample_mode='upsample', resample_kernel=(1, 3, 3, 1)
    )
    ours = UpConvLayer(6, 8)
    ours.conv.weight.copy_(reference.weight[0])
    ours.bias.normal_()
    x = torch.randn(2, 6, 8, 8)
    expected = reference(x, torch.zeros(2, STYLE)) + ours.bias[:, None, None]
    assert_equal(ours(x), torch.where(expected > 0, 1.0, 0.2) * expected * math.sqrt(2))


def test_mapping_layer(theirs):
    reference = theirs.EqualLinear(STYLE, STYLE, lr_mul=0.01, activation='fused_lrelu')
    reference.bias.normal_().mul_(10)
    ours = EqualizedLinear(STYLE, STYLE, lr_multiplier=0.01, activate=True)
    ours.load_state_dict(reference.state_dict())
    z = torch.randn(2, STYLE)
    assert_equal(ours(pixel_norm(z)), reference(theirs.NormStyleCode()(z)))


@pytest.mark.parametrize('batch', [1, 2, 4])
def test_discriminator_with_its_minibatch_standard_deviation(theirs, tmp_path, batch):
    """BasicSR's group is four samples, GPEN's the whole batch: up to four they are the same."""
    reference = theirs.StyleGAN2Discriminator(64, channel_multiplier=1, narrow=1 / 32)
    for name, parameter in reference.named_parameters():
        if name.endswith('bias'):
            parameter.normal_()
    state = {key.replace('conv_body', 'convs'): value for key, value in reference.state_dict().items()}
    torch.save(state, tmp_path / 'D.pth')
    x = torch.randn(batch, 3, 64, 64)
    assert_equal(convert_discriminator(tmp_path / 'D.pth')(x), reference(x))


@pytest.fixture(scope='module')
def arcface():
    """GFPGAN's ResNet-18 of ArcFace with random weights and statistics, and ours with the same."""
    basicsr_bridge.connect()
    archs = pytest.importorskip('gfpgan.archs.arcface_arch', reason='gfpgan is not installed')
    reference = archs.ResNetArcFace('IRBlock', [2, 2, 2, 2], use_se=False).eval()
    with torch.no_grad():
        for module in reference.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    ours = MMRBGANArcFace()
    ours.load_state_dict(reference.state_dict())
    return reference, ours


def test_arcface(arcface):
    reference, ours = arcface
    grey = torch.rand(2, 1, 128, 128) * 2 - 1
    assert_equal(ours.features(grey), reference(grey))


def test_arcface_has_the_keys_of_the_published_network(arcface):
    reference, ours = arcface
    assert reference.state_dict().keys() == ours.state_dict().keys()
