"""The network prepared for inference computes what the training form computes, in every form and precision."""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.inference import kernels, plan, winograd
from mmrbgan_arch.inference.winograd import WinogradConv2d, transforms

DIRECT_AND_WINOGRAD = pytest.mark.parametrize('winograd', [False, True], ids=['direct', 'winograd'])


def moved(size=64, **options):
    """A network whose every parameter has left its start, where many are zero."""
    torch.manual_seed(0)
    network = MMRBGAN(size, **({'style_dim': 32, 'num_mlp': 3, 'narrow': 1 / 16} | options)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    slopes = [module.weight.item() for module in network.modules() if isinstance(module, torch.nn.PReLU)]
    assert len(set(slopes)) == len(slopes)
    return network


def faces(count, size=64, dtype=torch.float32):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


@pytest.fixture
def winograd_everywhere(monkeypatch):
    """Small maps too, with both sizes of tiles."""
    monkeypatch.setattr(plan, 'WINOGRAD_SIZE', 8)
    monkeypatch.setattr(plan, 'WINOGRAD_CHANNELS', 2)
    monkeypatch.setattr(plan, 'LARGE_TILES', 16)


@DIRECT_AND_WINOGRAD
@pytest.mark.parametrize('count', [1, 3])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=['f64', 'f32'])
def test_equals_the_training_form(winograd_everywhere, winograd, count, dtype, tolerance):
    network, x = moved().to(dtype), faces(count, dtype=dtype)
    prepared = network.prepare_for_inference(winograd=winograd)
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(prepared(x), expected, rtol=0, atol=tolerance * float(expected.abs().max()))
    assert any(isinstance(module, WinogradConv2d) for module in prepared.modules()) == winograd


@DIRECT_AND_WINOGRAD
@pytest.mark.parametrize(
    'options', [{'use_mmrb': False}, {'image_range': (0, 1)}, {'size': 8}, {'narrow': 1 / 32}], ids=str
)
def test_equals_the_training_form_with_other_options(winograd_everywhere, winograd, options):
    network = moved(**options).double()
    x = faces(2, network.out_size, torch.float64)
    with torch.no_grad():
        expected = network(x)
    torch.testing.assert_close(network.prepare_for_inference(winograd=winograd)(x), expected, rtol=1e-10, atol=1e-10)


def test_does_not_change_the_network_or_its_input():
    network, x = moved(), faces(1)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    given = x.clone()
    network.prepare_for_inference()(x)
    assert torch.equal(x, given)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_gives_the_same_again():
    prepared, x = moved().prepare_for_inference(), faces(2)
    assert torch.equal(prepared(x), prepared(x))


def test_serves_in_every_mode(winograd_everywhere):
    """The buffers outlive a call; made in inference mode, they would be refused outside."""
    prepared, x = moved().prepare_for_inference(winograd=True), faces(1)
    with torch.inference_mode():
        first = prepared(x).clone()
    assert torch.equal(prepared(x), first)
    assert not prepared(x.requires_grad_()).requires_grad


def test_release_frees_the_training_form():
    network, x = moved(), faces(1)
    with torch.no_grad():
        expected = network(x)
    prepared = network.prepare_for_inference(release=True)
    assert sum(parameter.numel() for parameter in network.parameters()) < 5000  # stem, constant, pyramid's RGB layers
    torch.testing.assert_close(prepared(x), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match='64, 64'):
        moved().prepare_for_inference()(faces(1, 32))


def test_has_nothing_to_train():
    assert list(moved().prepare_for_inference().parameters()) == []


def test_bfloat16_is_close_to_float32():
    network, x = moved(), faces(2)
    exact, half = (network.prepare_for_inference(dtype)(x) for dtype in (torch.float32, torch.bfloat16))
    assert half.dtype == torch.float32
    assert (exact - half).abs().mean() < 0.01 * exact.abs().mean()


def test_the_direct_form_compiles_as_one_graph():
    """CUDA graphs need it; ``eager`` is the compiler's front half alone."""
    network, x = moved(8), faces(1, 8)
    prepared = network.prepare_for_inference(winograd=False)
    compiled = torch.compile(prepared, backend='eager', fullgraph=True)
    with torch.inference_mode():
        torch.testing.assert_close(compiled(x), prepared(x), rtol=1e-5, atol=1e-5)


# Winograd


@pytest.mark.parametrize(
    ('dtype', 'capability', 'intel', 'expected'),
    [
        (torch.float32, 'AVX512', True, True),
        (torch.float32, 'AVX512', False, False),
        (torch.float32, 'AVX2', False, True),
        (torch.bfloat16, 'AVX512', True, False),
    ],
)
def test_winograd_is_used_where_products_are_fast(monkeypatch, dtype, capability, intel, expected):
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: capability)
    monkeypatch.setattr(winograd, 'is_intel', lambda: intel)
    assert moved().prepare_for_inference(dtype).winograd == expected


@pytest.mark.parametrize('outputs', [2, 4])
@pytest.mark.parametrize('taps', [3, 5])
def test_transforms_give_the_correlation(taps, outputs):
    collect, spread, evaluate = transforms(taps, outputs)
    signal, kernel = torch.randn(outputs + taps - 1, dtype=torch.float64), torch.randn(taps, dtype=torch.float64)
    expected = F.conv1d(signal[None, None], kernel[None, None])[0, 0]
    torch.testing.assert_close(collect @ ((evaluate @ kernel) * (spread @ signal)), expected)


@pytest.mark.parametrize('outputs', [2, 4])
@pytest.mark.parametrize('taps', [3, 5])
def test_winograd_in_float32_is_exact_to_rounding(taps, outputs):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(2, 64, 32, 32), torch.randn(48, 64, taps, taps) / (8 * taps), torch.randn(48)
    style, gain = torch.rand(2, 64), torch.rand(2, 48)
    modulated = (x * style[:, :, None, None]).double()
    expected = F.conv2d(modulated, weight.double(), padding=taps // 2) * gain[:, :, None, None] + bias[:, None, None]
    framed = kernels.framed(x, taps // 2)
    found = WinogradConv2d(weight, bias, outputs=outputs)(framed.chunk(2, dim=1), style, gain)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-5)
