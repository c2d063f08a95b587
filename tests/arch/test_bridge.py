import subprocess
import sys

import pytest

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError

needs_basicsr = pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')


def run_python(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)


def test_importing_the_networks_leaves_basicsr_alone():
    done = run_python('import sys, mmrbgan_arch, mmrbgan_arch.basicsr_bridge; print("basicsr" in sys.modules)')
    assert done.stdout.strip() == 'False', done.stderr


@needs_basicsr
def test_connect_mends_what_plain_basicsr_misses_and_registers_before_and_after():
    code = """
import numpy as np
np.seterr(divide='raise')
from mmrbgan_arch import basicsr_bridge as bridge
class Early: pass
class Late: pass
bridge.register_arch(Early)
bridge.connect()
bridge.register_arch(Late)
from basicsr.utils.registry import ARCH_REGISTRY
print('Early' in ARCH_REGISTRY, 'Late' in ARCH_REGISTRY, np.geterr()['divide'])
bridge.connect()
import basicsr.data.degradations, basicsr.train
"""
    done = run_python(code)
    assert done.stdout.split() == ['True', 'True', 'raise'], done.stderr


@needs_basicsr
def test_a_name_that_is_taken_keeps_its_owner():
    basicsr_bridge.connect()
    from basicsr.archs.srresnet_arch import MSRResNet as Original
    from basicsr.utils.registry import ARCH_REGISTRY

    class MSRResNet:
        pass

    basicsr_bridge.register_arch(MSRResNet)
    assert ARCH_REGISTRY.get('MSRResNet') is Original
    assert ARCH_REGISTRY.get('MSRResNet_mmrbgan') is MSRResNet


def test_scipy_and_distutils_that_are_gone_are_replaced():
    code = """
import importlib.util, sys
real = importlib.util.find_spec
gone = {'scipy.ndimage.filters', 'distutils'}
importlib.util.find_spec = lambda name, package=None: None if name in gone else real(name, package)
from mmrbgan_arch import basicsr_bridge as bridge
for name in list(sys.modules):
    if name.split('.')[0] == 'distutils':
        del sys.modules[name]
bridge._mend_distutils(); bridge._mend_scipy()
from distutils.version import LooseVersion
from scipy.ndimage.filters import convolve
print(LooseVersion('1.10') > LooseVersion('1.9'), sys.modules['scipy.ndimage.filters'].__doc__.split()[0])
"""
    done = run_python(code)
    assert done.stdout.split() == ['True', 'Put'], done.stderr


def test_missing_basicsr_is_one_line_with_the_way_out(monkeypatch):
    monkeypatch.setattr(basicsr_bridge, 'is_available', lambda: False)
    with pytest.raises(UsageError, match='training and testing need basicsr') as caught:
        basicsr_bridge.connect()
    assert '\n' not in str(caught.value)


@needs_basicsr
def test_a_forks_own_pipeline_trains_the_model(tmp_path, monkeypatch):
    """Nothing of ours but the registered names: BasicSR's parse_options, loaders, sampler, loggers and loop."""
    import tiny_run
    import torch
    import yaml

    import mmrbgan.plugin  # noqa: F401

    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    tiny_run.make_faces('faces')
    options = tiny_run.options(path={})
    for phase, section in options['datasets'].items():
        section['name'] = phase
    options['val']['save_img'] = False
    (tmp_path / 'fork.yml').write_text(yaml.safe_dump(options), encoding='utf-8')
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', 'fork.yml'])
    from basicsr.train import train_pipeline

    train_pipeline(str(tmp_path))
    assert (tmp_path / 'experiments/tiny/training_states/8.json').is_file()
    assert (tmp_path / 'experiments/tiny/visualization/sheet_val_8.png').is_file()
