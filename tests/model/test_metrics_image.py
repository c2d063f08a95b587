"""Per-image metrics: the same values as BasicSR, lpips and dlib, and perfect marks for the ground truth itself."""

import cv2
import numpy as np
import pytest
import torch

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.public_weights import FILES, local_file
from mmrbgan_data.detection import DlibDetector
from mmrbgan_model.metrics import ifqa as ifqa_module
from mmrbgan_model.metrics import lpips_distance
from mmrbgan_model.metrics import niqe as niqe_module
from mmrbgan_model.metrics.identity import compare, identity
from mmrbgan_model.metrics.ifqa import IFQANet, ifqa
from mmrbgan_model.metrics.landmark_distance import face_box, landmark_distance
from mmrbgan_model.metrics.niqe import niqe
from mmrbgan_model.metrics.psnr_ssim import psnr, ssim


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope='module')
def face() -> np.ndarray:
    from skimage.data import astronaut

    return cv2.resize(np.ascontiguousarray(astronaut()[:300, 80:380]), (256, 256), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope='module')
def blurred(face) -> np.ndarray:
    return cv2.GaussianBlur(face, (0, 0), 3)


def bgr(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture[..., ::-1])


def basicsr_metrics():
    basicsr_bridge.connect()
    return pytest.importorskip('basicsr.metrics')


def test_psnr_and_ssim_are_basicsrs(face, blurred):
    reference = basicsr_metrics()
    assert psnr(blurred[None], face[None])[0] == pytest.approx(reference.calculate_psnr(bgr(blurred), bgr(face), 0))
    assert ssim(blurred[None], face[None])[0] == pytest.approx(reference.calculate_ssim(bgr(blurred), bgr(face), 0))


def test_niqe_is_basicsrs(face, blurred):
    reference = basicsr_metrics()
    pictures = np.stack([face, blurred])
    wanted = [reference.calculate_niqe(bgr(one), 0) for one in pictures]
    assert niqe(pictures) == pytest.approx(wanted, abs=1e-9)


def test_niqe_on_a_gpu_sums_in_another_order(face, blurred, monkeypatch):
    pictures = np.stack([face, blurred])
    wanted = niqe(pictures)
    monkeypatch.setattr(niqe_module, '_moments', niqe_module._moments_on_gpu)
    assert niqe(pictures) == pytest.approx(wanted, abs=1e-2)


def test_niqe_refuses_a_picture_without_two_blocks():
    with pytest.raises(UsageError, match='96 x 192'):
        niqe(np.zeros((1, 96, 100, 3), np.uint8))


def test_the_ground_truth_scores_perfectly_against_itself(face):
    one = face[None]
    assert psnr(one, one)[0] == np.inf
    assert ssim(one, one)[0] == pytest.approx(1, abs=1e-12)
    assert landmark_distance(one, one)[0] == 0
    assert identity(one, one)['angle'][0] == 0


def test_pictures_of_two_sizes_are_refused(face):
    with pytest.raises(UsageError, match='differ'):
        psnr(face[None], face[None, :128])


@pytest.fixture
def backbones(tmp_path, monkeypatch):
    """Random backbones where torchvision would put the downloaded ones."""
    from torchvision.models.vgg import cfgs, make_layers

    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    (tmp_path / 'checkpoints').mkdir()
    torch.manual_seed(0)
    # Only the features are looked at; their classifiers would be half a gigabyte.
    widths, numbers = (3, 64, 192, 384, 256, 256), (0, 3, 6, 8, 10)
    kernels = dict(zip(numbers, (11, 5, 3, 3, 3), strict=True))
    alex = {
        f'features.{number}.{kind}': torch.randn(after, before, kernels[number], kernels[number]) * 0.05
        if kind == 'weight'
        else torch.randn(after) * 0.05
        for number, before, after in zip(numbers, widths, widths[1:], strict=False)
        for kind in ('weight', 'bias')
    }
    vgg = {f'features.{key}': value for key, value in make_layers(cfgs['D']).state_dict().items()}
    torch.save(alex, tmp_path / 'checkpoints' / FILES['lpips_alex'].name)
    torch.save(vgg, tmp_path / 'checkpoints' / FILES['lpips_vgg'].name)
    return tmp_path / 'checkpoints'


@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_lpips_is_the_packages(face, blurred, backbones, net):
    face, blurred = face[::2, ::2].copy(), blurred[::2, ::2].copy()
    package = pytest.importorskip('lpips')
    reference = package.LPIPS(net=net, pnet_rand=True, verbose=False)
    state = torch.load(backbones / FILES[f'lpips_{net}'].name, weights_only=True)
    layers = {name: part for name, part in reference.net.named_modules() if isinstance(part, torch.nn.Conv2d)}
    for name, layer in layers.items():
        number = name.split('.')[-1]
        layer.weight.data, layer.bias.data = state[f'features.{number}.weight'], state[f'features.{number}.bias']
    a, b = (torch.from_numpy(one.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1 for one in (blurred, face))
    with torch.no_grad():
        wanted = reference(a, b).item()
    assert lpips_distance.lpips(blurred[None], face[None], net, device='cpu')[0] == pytest.approx(wanted, rel=1e-5)
    assert lpips_distance.lpips(face[None], face[None], net, device='cpu')[0] == 0


def test_lpips_with_another_networks_file_is_one_clear_error(face, backbones):
    with pytest.raises(UsageError, match='not weights of'):
        lpips_distance.lpips(face[None], face[None], 'vgg', weights=backbones / FILES['lpips_alex'].name)


def test_ifqa_is_the_written_out_forward_pass(face, tmp_path):
    torch.manual_seed(1)
    net = IFQANet()
    path = tmp_path / 'IFQA_Metric.pth'
    torch.save({'D': net.state_dict()}, path)
    small = cv2.resize(face, (256, 256), interpolation=cv2.INTER_LINEAR)
    x = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        wanted = written_out_ifqa(net.state_dict(), x).mean().item()
    assert ifqa(face[None], path, 'cpu')[0] == pytest.approx(wanted, rel=1e-5)


def written_out_ifqa(state: dict, x: torch.Tensor) -> torch.Tensor:
    """The discriminator by its formula: norm, leaky ReLU, convolution, twice; (shortcut + residual) / sqrt 2."""
    f = torch.nn.functional

    def norm(name, x):
        mean, variance = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, unbiased=False)
        scale, shift = (state[f'{name}.{kind}'].view(1, -1, 1, 1) for kind in ('weight', 'bias'))
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    def block(name, x, before, after):
        y = before(f.leaky_relu(norm(f'{name}.norm1', x), 0.2))
        y = f.conv2d(y, state[f'{name}.conv1.weight'], state[f'{name}.conv1.bias'], padding=1)
        y = f.leaky_relu(norm(f'{name}.norm2', after(y)), 0.2)
        y = f.conv2d(y, state[f'{name}.conv2.weight'], state[f'{name}.conv2.bias'], padding=1)
        shortcut = before(x)
        if f'{name}.conv1x1.weight' in state:
            shortcut = f.conv2d(shortcut, state[f'{name}.conv1x1.weight'])
        return (y + after(shortcut)) / 2**0.5

    def keep(x):
        return x

    def down(x):
        return f.avg_pool2d(x, 2)

    def up(x):
        return x.repeat_interleave(2, 2).repeat_interleave(2, 3)

    encoded = {}
    for side in (128, 64, 32, 16, 8):
        x = encoded[side] = block(f'encoder{side}', x, keep, down)
    for i in range(4):
        x = block(f'btn.{i}', x, keep, keep)
    for side in (16, 32, 64, 128):
        x = block(f'decoder{side}', x, up, keep)
        x = x * encoded[side] + encoded[side]
    return block('decoder256.0', x, up, keep).sigmoid()


def test_ifqa_without_its_file_says_where_to_get_it(face, tmp_path, monkeypatch):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(UsageError, match=r'IFQA_Metric\.pth.*AIM-SKKU'):
        ifqa_module.ifqa(face[None])


def test_identity_is_dlibs_own_distance(face, blurred):
    dlib = pytest.importorskip('dlib')

    predict = dlib.shape_predictor(str(local_file(FILES['dlib_5_points'])))
    recognise = dlib.face_recognition_model_v1(str(local_file(FILES['dlib'])))
    box = dlib.get_frontal_face_detector()(face, 0)[0]
    a, b = (recognise.compute_face_descriptor(one, predict(one, box)) for one in (blurred, face))
    wanted = float(np.linalg.norm(np.array(a) - np.array(b)))
    assert identity(blurred[None], face[None])['distance'][0] == pytest.approx(wanted, rel=1e-4)


def test_angle_and_cosine_by_hand():
    found = compare(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[0.0, 3.0], [1.0, 0.0]]))
    assert found['angle'] == pytest.approx([90, 0])
    assert found['cosine'] == pytest.approx([0, 1], abs=1e-12)


def test_every_metric_is_in_basicsrs_registry():
    basicsr_bridge.connect()
    from basicsr.utils.registry import METRIC_REGISTRY

    wanted = {'calculate_lpips', 'calculate_ifqa', 'calculate_identity', 'calculate_landmark_distance'}
    assert wanted | {'calculate_niqe_fast', 'calculate_psnr', 'calculate_ssim'} <= set(METRIC_REGISTRY.keys())


def test_the_box_is_that_of_centerface_where_dlib_sees_no_face():
    astronaut = pytest.importorskip('skimage.data').astronaut()[:400, 50:450]
    matrix = cv2.getRotationMatrix2D((174, 110), 50, 1)
    tilted = cv2.warpAffine(astronaut, matrix, (400, 400))
    assert DlibDetector()(tilted) == []
    x1, y1, x2, y2 = face_box(tilted)
    assert abs((x1 + x2) / 2 - 174) < 20
    assert abs((y1 + y2) / 2 - 110) < 30
    assert 70 < x2 - x1 < 180
