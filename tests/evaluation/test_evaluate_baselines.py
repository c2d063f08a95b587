"""Baselines: classical methods as networks, and the one clear error of a foreign network that is not there."""

import importlib.util
import sys

import pytest
import tiny_run
import torch

from mmrbgan import cli
from mmrbgan.evaluation.record import read_record
from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.classical_arch import MMRBGANClassical
from mmrbgan_arch.spandrel_arch import SpandrelNet
from mmrbgan_arch.support.errors import UsageError

needs_basicsr = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
METHODS = ['input', 'bicubic', 'unsharp', 'nonlocal_means']


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize('method', METHODS)
def test_a_method_keeps_shape_and_range(method, noise):
    restored = MMRBGANClassical(method)(noise)
    assert restored.shape == noise.shape and restored.dtype == noise.dtype
    assert restored.abs().max() <= 1


@pytest.mark.parametrize('method', METHODS)
def test_a_flat_picture_stays_flat(method):
    flat = torch.full((1, 3, 32, 32), 51 / 127.5 - 1)
    a_level = 1.01 / 127.5  # OpenCV's way through Lab rounds
    assert MMRBGANClassical(method)(flat) == pytest.approx(flat, abs=a_level if method == 'nonlocal_means' else 1e-5)


def test_bicubic_and_nonlocal_means_smooth_and_unsharp_sharpens(noise):
    quiet = noise * 0.1
    spread = {method: MMRBGANClassical(method)(quiet).std() for method in METHODS}
    assert spread['bicubic'] < spread['input'] < spread['unsharp']
    assert spread['nonlocal_means'] < spread['input']


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match='none of'):
        MMRBGANClassical('magic')  # type: ignore[arg-type]


def test_without_spandrel_the_way_out_is_named(noise, monkeypatch):
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    with pytest.raises(UsageError, match='baselines'):
        SpandrelNet('GFPGANv1.4.pth')(noise)


@pytest.mark.skipif(importlib.util.find_spec('spandrel') is None, reason='spandrel is not installed')
def test_a_missing_file_is_one_clear_error(noise):
    with pytest.raises(UsageError, match='no such file'):
        SpandrelNet('nowhere/GFPGANv1.4.pth')(noise)


@pytest.mark.skipif(importlib.util.find_spec('spandrel') is None, reason='spandrel is not installed')
def test_a_file_of_no_known_network_is_one_clear_error(noise, tmp_path):
    torch.save({'x': torch.zeros(1)}, tmp_path / 'x.pth')
    with pytest.raises(UsageError, match='not a network for spandrel'):
        SpandrelNet(str(tmp_path / 'x.pth'))(noise)


class Peer:
    """What spandrel returns, with a network that brightens."""

    def __init__(self, purpose: str) -> None:
        self.purpose = purpose

    def to(self, device):
        return self

    def model(self, x):
        raise AssertionError('replaced below')

    def __call__(self, unit):
        assert unit.min() >= 0 and unit.max() <= 1
        return unit


class FaceNetwork(torch.nn.Module):
    def forward(self, x, randomize_noise=True):
        assert not randomize_noise and x.shape[-1] == 512 and x.min() < 0
        return x, None


def test_a_face_restorer_sees_512_pixels_in_its_own_range(noise):
    net = SpandrelNet('any')
    net.peer = Peer('FaceSR')
    net.peer.model = FaceNetwork()
    smooth = torch.nn.functional.interpolate(noise[..., :4, :4], 32, mode='bicubic').clamp(-0.9, 0.9)
    restored = net(smooth)
    assert restored.shape == smooth.shape
    assert (restored - smooth).abs().mean() < 0.02


def test_any_other_network_is_called_in_the_unit_range(noise):
    net = SpandrelNet('any')
    net.peer = Peer('SR')
    assert net(noise) == pytest.approx(noise, abs=1e-5)


def test_building_reads_no_file():
    assert list(SpandrelNet('nowhere.pth').parameters()) == []


def test_a_file_of_a_real_network_is_loaded_and_run(noise, tmp_path):
    compact = pytest.importorskip('spandrel.architectures.Compact', reason='spandrel is not installed').Compact
    torch.manual_seed(0)
    network = compact(num_feat=8, num_conv=1, upscale=1).eval()
    torch.save({'params': network.state_dict()}, tmp_path / 'compact.pth')
    with torch.inference_mode():
        expected = (network((noise + 1) / 2) * 2 - 1).clamp(-1, 1)
        restored = SpandrelNet(str(tmp_path / 'compact.pth'))(noise)
    torch.testing.assert_close(restored, expected)


def test_codeformer_is_loaded_and_run_as_a_face_restorer(noise, tmp_path):
    pytest.importorskip('spandrel_extra_arches', reason='spandrel_extra_arches is not installed (extra baselines)')
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    torch.manual_seed(0)
    network = CodeFormer(dim_embd=64, n_layers=1, codebook_size=32, connect_list=['32']).eval()
    torch.save({'params_ema': network.state_dict()}, tmp_path / 'codeformer.pth')
    net = SpandrelNet(str(tmp_path / 'codeformer.pth'))
    with torch.inference_mode():
        restored = net(noise[:1])
    assert net.peer.architecture.id == 'CodeFormer'
    assert restored.shape == noise[:1].shape and restored.isfinite().all()


def run_bicubic() -> int:
    """`basicsr test` over the folder ``faces``, pictures saved."""
    data = {'name': 'tiny', 'type': 'MMRBGANTestDataset', 'dataroot_gt': 'faces', 'image_size': tiny_run.SIZE}
    content = {
        'name': 'bicubic',
        'model_type': 'MMRBGANModel',
        'num_gpu': 0,
        'datasets': {'test': data},
        'network_g': {'type': 'MMRBGANClassical', 'method': 'bicubic'},
        'path': {},
        'val': {'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }
    return tiny_run.start(content, command='test')


@needs_basicsr
def test_basicsr_test_runs_a_baseline_without_pretrained_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces', 3)
    assert run_bicubic() == 0
    assert len(list(tmp_path.glob('results/bicubic/visualization/tiny/*.png'))) >= 3


@needs_basicsr
def test_faces_of_one_name_in_two_folders_are_kept_apart_and_scored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ['holiday/0', 'holiday/1', 'work/0', 'work/1']
    for folder in ('holiday', 'work'):
        tiny_run.make_faces(f'faces/{folder}', 2)
    assert run_bicubic() == 0
    results = tmp_path / 'results/bicubic/visualization/tiny'
    assert sorted(path.relative_to(results).as_posix() for path in results.rglob('*_bicubic.png')) == [
        f'{name}_bicubic.png' for name in names
    ]
    assert cli.main(['evaluate', str(results), '--gt', 'faces', '--metrics', 'psnr', '--out', 'record.json']) == 0
    record = read_record(tmp_path / 'record.json')
    assert [face['name'] for face in record.faces] == names and not record.excluded
