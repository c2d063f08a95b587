"""runs/ship_weights.py: the default's files are replaced, their hashes come first; another ships beside it."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mmrbgan.restoring.default_weights import packaged_weights
from mmrbgan.restoring.onnx_network import OnnxNetwork
from mmrbgan_arch import MMRBGAN, load_network
from mmrbgan_arch.weights_io import write_weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(tmp_path, monkeypatch):
    specification = importlib.util.spec_from_file_location('ship_weights', ROOT / 'runs/ship_weights.py')
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    monkeypatch.setattr(module, 'FOLDER', tmp_path)
    (tmp_path / 'old.safetensors').write_bytes(b'old')
    (tmp_path / 'SHA256SUMS').write_text('0  old.safetensors\n')
    return module


@pytest.fixture
def network(tmp_path):
    torch.manual_seed(0)
    write_weights(tmp_path / 'net_g_latest.pth', MMRBGAN(out_size=32, narrow=0.0625, style_dim=16).state_dict())
    return tmp_path / 'net_g_latest.pth'


def listed(folder):
    return [line.split()[1] for line in (folder / 'SHA256SUMS').read_text().splitlines()]


def test_the_default_is_replaced(script, network, tmp_path):
    path = script.write(network, 'new_v2', beside=False)
    assert packaged_weights(tmp_path) == path and not (tmp_path / 'old.safetensors').exists()
    assert load_network(path).out_size == 32
    assert path.stat().st_size < 0.6 * network.stat().st_size  # float16
    assert OnnxNetwork(path).size == 32


def test_the_default_made_anew_leaves_what_ships_beside_it(script, network, tmp_path):
    for name, beside in (('new_v2', False), ('large_v1', True), ('new_v2', False)):
        script.write(network, name, beside)
    assert listed(tmp_path) == [
        'new_v2.safetensors',
        'new_v2.graph.onnx',
        'large_v1.safetensors',
        'large_v1.graph.onnx',
    ]
    assert (tmp_path / 'large_v1.safetensors').is_file()


def test_another_one_ships_beside_the_default(script, network, tmp_path):
    script.write(network, 'large_v1', beside=True)
    assert listed(tmp_path) == ['old.safetensors', 'large_v1.safetensors', 'large_v1.graph.onnx']
    assert (tmp_path / 'old.safetensors').is_file()


def test_what_is_too_large_for_the_wheel_does_not_ship(script, network, monkeypatch):
    monkeypatch.setattr(script, 'LARGEST', 100)
    with pytest.raises(SystemExit, match='too many for the wheel'):
        script.write(network, 'new_v2', beside=False)
