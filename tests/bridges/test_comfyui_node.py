"""The node's edges: alpha, an empty batch, values that are no numbers, and messages without a shell's flags."""

import pytest
import torch
from tiny_restoring import photograph, stand_in, tiny_weights

from mmrbgan.comfyui import RestoreFaces, load_restorer
from mmrbgan.restoring import restorer
from mmrbgan_arch.support.errors import UsageError


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: stand_in)
    load_restorer.cache_clear()
    return str(tiny_weights(tmp_path))


def batch(channels=3):
    return torch.from_numpy(photograph(channels=channels)).float()[None].div(255).repeat(2, 1, 1, 1)


@pytest.mark.parametrize('channels', [3, 4])
def test_alpha_comes_out_as_it_went_in(weights, channels):
    image = batch(channels)
    restored, count = RestoreFaces().restore(image, 1.0, 'all', weights)
    assert restored.shape == image.shape and restored.dtype == image.dtype and count == 4
    assert torch.equal(restored[..., 3:], image[..., 3:]) and not torch.equal(restored[..., :3], image[..., :3])


def test_empty_batch_stays_empty(weights):
    assert RestoreFaces().restore(torch.empty(0, 8, 8, 3), 1.0, 'all', weights)[0].shape == (0, 8, 8, 3)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_values_that_are_no_numbers_are_named(weights, value):
    image = batch()
    image[0, 0, 0, 0] = value
    with pytest.raises(UsageError, match='NaN or infinite'):
        RestoreFaces().restore(image, 1.0, 'all', weights)


def test_other_shapes_are_named(weights):
    with pytest.raises(UsageError, match='found'):
        RestoreFaces().restore(torch.rand(1, 8, 8, 2), 1.0, 'all', weights)


def test_messages_name_inputs_and_not_flags(weights):
    for arguments in ((1.0, 'none', weights), (2.0, 'all', weights), (1.0, 'all', 'no-such-file')):
        with pytest.raises(UsageError) as caught:
            RestoreFaces().restore(batch(), *arguments)
        assert '--' not in str(caught.value)
