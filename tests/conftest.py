"""Fixtures every test may use."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get('MMRBGAN_SHARED', Path(__file__).parents[2] / 'shared'))


@pytest.fixture(autouse=True)
def one_thread():
    """Keep torch to one thread: the machines that run the tests are small and shared."""
    torch.set_num_threads(1)


@pytest.fixture
def shared() -> Path:
    """The folder with real faces, weights and reference computations; the test skips without it."""
    if not SHARED.is_dir():
        pytest.skip('the folder with real faces is not here (set MMRBGAN_SHARED)')
    return SHARED
