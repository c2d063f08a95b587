"""A share of the inputs of ``tests/bad_inputs.py``; its run over 2,000 is benchmarks/results/bad_inputs.txt."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmrbgan_arch import basicsr_bridge

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not basicsr_bridge.is_available(), reason='basicsr is not installed')
def test_no_bad_input_does_harm(tmp_path):
    path = os.pathsep.join([str(ROOT / 'tests'), *sys.path])
    call = [sys.executable, str(ROOT / 'tests' / 'bad_inputs.py'), '--count', '44', '--seed', '7']
    environment = os.environ | {'PYTHONPATH': path}
    run = subprocess.run(call, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    assert '44 inputs, 0 faults' in run.stdout
