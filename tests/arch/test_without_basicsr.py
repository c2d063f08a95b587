"""The networks where basicsr is not installed: import, convert, load, restore."""

import subprocess
import sys

import gpen_reference as gpen
import torch

CODE = """
import importlib.util, sys

class Missing:  # finds basicsr missing
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition('.')[0] == 'basicsr':
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing)
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == 'basicsr' else find(name, package)

import torch
import mmrbgan_arch
from mmrbgan import cli

assert cli.main(['convert', 'gpen', '--generator', 'G.pth', '--discriminator', 'D.pth', '--output', '.']) == 0
image = mmrbgan_arch.load_network('net_g.pth')(torch.zeros(1, 3, 32, 32))
logit = mmrbgan_arch.load_network('net_d.pth')(image)
print(tuple(image.shape), tuple(logit.shape), 'basicsr' in sys.modules)
"""


def test_networks_need_no_basicsr(tmp_path):
    torch.save(gpen.random_generator(), tmp_path / 'G.pth')
    torch.save(gpen.random_discriminator(), tmp_path / 'D.pth')
    done = subprocess.run([sys.executable, '-c', CODE], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ['(1, 3, 32, 32) (1, 1) False'], done.stderr
