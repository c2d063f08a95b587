"""What a user's faces go through: the folded network in the hardware's precision, close to float32, never broken."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmrbgan.restoring import face_network
from mmrbgan.restoring.face_network import FaceNetwork, multiplies_bfloat16, pick_precision
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.inference import InferenceMMRBGAN

CPU = torch.device('cpu')
FOLDER = Path(os.environ.get('MMRBGAN_FACES', Path(__file__).parents[3] / 'shared/faces')) / 'val256'
SIZE = 256


def small(size=32):
    """A network in which every layer takes part; it starts as the identity, so that faces stay faces."""
    torch.manual_seed(0)
    network = MMRBGAN(size, style_dim=32, num_mlp=2, narrow=1 / 16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def noise(count=2, size=32):
    return list(np.random.default_rng(0).random((count, size, size, 3)).astype(np.float32))


@pytest.mark.parametrize(('has', 'expected'), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_follows_the_hardware(monkeypatch, has, expected):
    monkeypatch.setattr(face_network, 'multiplies_bfloat16', lambda device: has)
    assert pick_precision('auto', CPU) == expected


@pytest.mark.parametrize('check', ['_is_avx512_bf16_supported', '_is_amx_tile_supported'])
def test_either_instruction_set_will_do(monkeypatch, check):
    for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported'):
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name == check, raising=False)
    assert multiplies_bfloat16(CPU)


@pytest.mark.parametrize(('capability', 'expected'), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_since_ampere_have_bfloat16(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, 'get_device_capability', lambda device: capability)
    assert multiplies_bfloat16(torch.device('cuda')) == expected


def test_faces_go_through_the_folded_network():
    assert isinstance(FaceNetwork(small(), 32, CPU, 'float32').network, InferenceMMRBGAN)


def test_release_keeps_one_form_of_the_weights():
    network = small()
    expected = FaceNetwork(network, 32, CPU, 'float32')(noise())
    released = FaceNetwork(network, 32, CPU, 'float32', release=True)
    np.testing.assert_allclose(released(noise()), expected, atol=1e-6)
    assert network.prior.blocks[0].bias.numel() == 0


@pytest.mark.parametrize(('kind', 'stays'), [('float16', True), ('bfloat16', False)])
def test_the_exact_form_stays_where_weights_may_overflow(kind, stays):
    network = small()
    FaceNetwork(network, 32, CPU, kind, release=True)
    assert (network.prior.blocks[0].bias.numel() > 0) == stays


def test_a_non_finite_result_is_computed_again_in_float32(caplog):
    network = small()
    with torch.no_grad():
        network.encoder.stem.conv.weight.mul_(1e6)  # beyond float16, not beyond float32
    faces = noise()
    expected = FaceNetwork(network, 32, CPU, 'float32')(faces)
    runner = FaceNetwork(network, 32, CPU, 'float16')
    np.testing.assert_array_equal(runner(faces), expected)
    assert runner.dtype == torch.float32
    assert 'going on in float32' in caplog.text


def test_bfloat16_goes_on_in_float32_without_the_exact_form(monkeypatch, caplog):
    runner = FaceNetwork(small(), 32, CPU, 'bfloat16', release=True)
    close, half = FaceNetwork(small(), 32, CPU, 'float32')(noise()), runner.network
    broken = lambda x: half(x) * (torch.nan if half.dtype == torch.bfloat16 else 1)  # noqa: E731
    monkeypatch.setattr(runner, 'network', broken)
    np.testing.assert_allclose(runner(noise()), close, atol=0.01)
    assert runner.dtype == half.dtype == half.encoder.stem.weight.dtype == torch.float32
    assert 'going on in float32' in caplog.text


def test_compile_gets_the_plain_convolutions(monkeypatch):
    given = []
    monkeypatch.setattr(torch, 'compile', lambda network, mode: given.append((network, mode)) or network)
    FaceNetwork(small(), 32, CPU, 'float32', compile=True)
    assert [(type(network), mode) for network, mode in given] == [(InferenceMMRBGAN, 'default')]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f'{FOLDER.name} is not here')
def test_bfloat16_is_within_50_db_on_real_faces():
    paths = sorted(path for path in FOLDER.iterdir() if path.suffix in ('.jpg', '.png'))[:4]
    faces = [cv2.imread(str(path))[:, :, ::-1].astype(np.float32) / 255 for path in paths]
    network = small(SIZE)
    exact, half = (np.array(FaceNetwork(network, SIZE, CPU, kind)(faces)) for kind in ('float32', 'bfloat16'))
    errors = np.square(exact - half).mean(axis=(1, 2, 3))
    assert errors.max() > 0
    assert -10 * np.log10(errors.max()) >= 50
    assert -10 * np.log10(np.square(exact - faces).mean()) > 15  # still faces
