"""MMRB in networks of BasicSR: the code of docs/mmrb.md, run as it stands."""

import re
from pathlib import Path

import pytest
import torch

from mmrbgan_arch import MMRB, basicsr_bridge

pytestmark = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
PAGE = Path(__file__).parents[2] / 'docs/mmrb.md'


@pytest.fixture(scope='module')
def page():
    """The names that the page's code defines."""
    torch.manual_seed(0)
    code = '\n'.join(re.findall(r'```python\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL))
    names = {'__name__': 'page'}
    exec(compile(code, str(PAGE), 'exec'), names)
    return names


def test_edsr_with_mmrb_learns_in_the_step_of_the_page(page):
    blocks = [module for module in page['network'].modules() if isinstance(module, MMRB)]
    assert len(blocks) == 2
    assert all(block.fuse.weight.any() for block in blocks)


@torch.no_grad()
@pytest.mark.parametrize('name', ['EDSR', 'RRDBNet'])
def test_fresh_blocks_leave_a_network_as_it_was(page, name):
    basicsr_bridge.connect()
    from basicsr.utils.registry import ARCH_REGISTRY

    network = ARCH_REGISTRY.get(name)(3, 3, num_feat=8, num_block=2).eval()
    x = torch.rand(1, 3, 8, 8)
    before = network(x)
    network.body = page['with_mmrbs'](network.body, 8, every=1)
    torch.testing.assert_close(network(x), before)


def test_basicsr_builds_it_from_options(page):
    from basicsr.archs import build_network

    options = {'type': 'EDSRWithMMRB', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 4, 'upscale': 2}
    assert any(isinstance(module, MMRB) for module in build_network(options).modules())
