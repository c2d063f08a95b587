"""Weights into the networks of a run: what does not fit is one line that names the way out."""

import gpen_reference as gpen
import pytest
import torch

from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_model.network_weights import fit_state, pick_state


def fault_of(content):
    network = MMRBGAN(8, style_dim=16, num_mlp=1, narrow=1 / 64)
    with pytest.raises(UsageError) as caught:
        fit_state(network, pick_state(content, None, 'net.pth', 'path'), True, 'net.pth', 'path')
    assert '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('content', [{0: torch.zeros(2)}, {'params': {1: torch.zeros(2)}}], ids=str)
def test_keys_that_are_no_names(content):
    assert 'another network' in fault_of(content)


def test_gpen_file_is_sent_to_the_converter():
    assert 'mmrbgan convert gpen' in fault_of(gpen.random_generator())


def test_tensor_without_content():
    assert 'no state dict' in fault_of({'encoder.stem.bias': torch.zeros(2, device='meta')})
