"""Exports compute what PyTorch computes, for any batch, and other programs load our files."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import full_disk
from PIL import Image

from mmrbgan import cli
from mmrbgan.bridges import onnx_export
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import write_weights

EXAMPLE = Path(__file__).parents[2] / 'docs' / 'restore_onnx.py'


@pytest.fixture(scope='module')
def network():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return MMRBGAN(out_size=32, narrow=0.0625, style_dim=16, num_mlp=1, noise_start=0.0).eval()


@pytest.fixture
def weights(network, tmp_path):
    write_weights(tmp_path / 'tiny.safetensors', network.state_dict())
    return tmp_path / 'tiny.safetensors'


def run_export(weights, path, file_format, *flags):
    return cli.main(['export', '--weights', str(weights), '--format', file_format, '-o', str(path), *flags])


@pytest.mark.parametrize('place', ['.', 'file/net.safetensors'])
def test_output_that_cannot_be_made_is_one_line(weights, tmp_path, capsys, place):
    (tmp_path / 'file').write_text('')
    assert run_export(weights, tmp_path / place, 'safetensors') == 2
    assert capsys.readouterr().err.startswith('error: -o ')


def test_onnx_runs_any_batch_in_onnxruntime(network, weights, tmp_path, capsys):
    runtime = pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    assert run_export(weights, tmp_path / 'net.onnx', 'onnx') == 0
    assert 'largest difference from PyTorch' in capsys.readouterr().out
    session = runtime.InferenceSession(str(tmp_path / 'net.onnx'), providers=['CPUExecutionProvider'])
    faces = torch.rand(5, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = network(faces).numpy()
    np.testing.assert_allclose(session.run(None, {'input': faces.numpy()})[0], expected, atol=1e-4)


def test_example_with_onnxruntime_alone(network, weights, tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    pytest.importorskip('onnx', reason='onnx is not installed')
    run_export(weights, tmp_path / 'net.onnx', 'onnx')
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'face.png')
    names = [str(tmp_path / name) for name in ('net.onnx', 'face.png', 'out.png')]
    monkeypatch.setattr(sys, 'argv', ['restore_onnx.py', *names])
    runpy.run_path(str(EXAMPLE), run_name='__main__')
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1)[0].permute(1, 2, 0)
    expected = ((expected.clamp(-1, 1) + 1) * 127.5).numpy()
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / 'out.png')), expected, atol=1)


def test_example_is_short_and_needs_neither_torch_nor_us():
    text = EXAMPLE.read_text()
    assert len(text.splitlines()) <= 40
    assert 'import torch' not in text
    assert 'import mmrbgan' not in text


@pytest.mark.parametrize(('file_format', 'suffix'), [('torchscript', '.pt'), ('safetensors', '.safetensors')])
def test_other_formats_give_the_same(network, weights, tmp_path, file_format, suffix, capsys):
    path = tmp_path / f'net{suffix}'
    assert run_export(weights, path, file_format) == 0
    assert path.is_file()
    assert float(capsys.readouterr().out.split('PyTorch ')[1].split()[0]) < 1e-4


def test_half_takes_half_the_room_and_restores_alike(network, weights, tmp_path, capsys):
    path = tmp_path / 'half.safetensors'
    assert run_export(weights, path, 'safetensors', '--half') == 0
    assert path.stat().st_size < 0.6 * weights.stat().st_size
    assert float(capsys.readouterr().out.split('PyTorch ')[1].split()[0]) < onnx_export.TOLERANCE_HALF
    assert run_export(weights, tmp_path / 'half.pt', 'torchscript', '--half') == 2
    assert '--half: known for --format safetensors alone' in capsys.readouterr().err


def test_export_that_differs_leaves_what_was_there(network, tmp_path, monkeypatch):
    def wrong(network, example):
        return b'exported', lambda batch: network(batch) + 0.01

    monkeypatch.setattr(onnx_export, 'export_torchscript', wrong)
    (tmp_path / 'net.pt').write_bytes(b'earlier')
    with pytest.raises(UsageError, match=r'differs from PyTorch by 1.0e-02'):
        onnx_export.export(network, 32, tmp_path / 'net.pt', 'torchscript')
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b'earlier']


def test_the_weights_are_never_overwritten(weights, tmp_path, capsys):
    before = weights.read_bytes()
    (tmp_path / 'link.safetensors').symlink_to(weights)
    assert run_export(weights, tmp_path / 'link.safetensors', 'safetensors', '--half') == 2
    assert 'is the file of the weights' in capsys.readouterr().err
    assert weights.read_bytes() == before


@pytest.mark.parametrize('file_format', ['onnx', 'torchscript', 'safetensors'])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(weights, tmp_path, capsys, file_format):
    if file_format == 'onnx':
        pytest.importorskip('onnx')
        pytest.importorskip('onnxruntime')
    path = tmp_path / f'net{onnx_export.SUFFIXES[file_format]}'
    path.write_bytes(b'earlier')
    with full_disk():
        assert run_export(weights, path, file_format) == 2
    line = capsys.readouterr().err
    assert line.startswith(f'error: {path}: cannot be written (File too large); make room') and line.count('\n') == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([path.name, 'tiny.safetensors'])
    assert path.read_bytes() == b'earlier'


def test_a_suffix_of_another_format_is_refused(weights, tmp_path, capsys):
    assert run_export(weights, tmp_path / 'net.pth', 'safetensors') == 2
    assert '--format safetensors ends in .safetensors' in capsys.readouterr().err
    assert not (tmp_path / 'net.pth').exists()


def test_other_networks_are_not_exported(tmp_path, capsys):
    from mmrbgan_arch import MMRBGANComponentDiscriminator

    write_weights(tmp_path / 'other.pth', MMRBGANComponentDiscriminator().state_dict())
    assert run_export(tmp_path / 'other.pth', tmp_path / 'net.pt', 'torchscript') == 2
    assert 'only MMRBGAN can be exported' in capsys.readouterr().err


@pytest.mark.parametrize('name', ['net.pth', 'net.safetensors'])
def test_spandrel_loads_our_files(network, tmp_path, name):
    spandrel = pytest.importorskip('spandrel', reason='spandrel is not installed')
    from mmrbgan.spandrel_support import register

    register()
    register()  # twice does no harm
    write_weights(tmp_path / name, network.state_dict())
    loaded = spandrel.ModelLoader().load_from_file(tmp_path / name)
    assert (loaded.architecture.id, loaded.purpose, loaded.scale) == ('MMRBGAN', 'FaceSR', 1)
    face = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        expected = (network(face * 2 - 1) / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(loaded(face), expected, atol=1e-5, rtol=0)
    assert loaded(torch.rand(1, 3, 48, 48)).shape == (1, 3, 48, 48)


def test_spandrel_still_knows_its_own(network):
    spandrel = pytest.importorskip('spandrel', reason='spandrel is not installed')
    from mmrbgan.spandrel_support import register

    register()
    with pytest.raises(spandrel.UnsupportedModelError):
        spandrel.ModelLoader().load_from_state_dict({'weight': torch.zeros(1)})


def test_comfyui_node_restores_a_batch(weights, monkeypatch):
    from tiny_restoring import photograph, stand_in

    from mmrbgan import comfyui
    from mmrbgan.restoring import restorer

    monkeypatch.setattr(restorer, 'make_detector', lambda *_: stand_in)
    node = comfyui.NODE_CLASS_MAPPINGS['MMRBGANRestoreFaces']
    assert set(node.INPUT_TYPES()['required']) == {'image', 'strength', 'faces', 'weights'}
    images = torch.from_numpy(np.stack([photograph(), photograph()[::-1].copy()])) / 255
    restored, faces = getattr(node(), node.FUNCTION)(images, 1.0, 'all', str(weights))
    assert faces == 4
    assert restored.shape == images.shape
    assert (restored - images).abs().max() > 0.05
