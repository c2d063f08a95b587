"""`--engine`: onnxruntime restores the same pictures as torch, without importing it."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from tiny_restoring import photograph, tiny_weights

import mmrbgan
from mmrbgan import cli
from mmrbgan.restoring import onnx_network
from mmrbgan.restoring.default_weights import graph_of, packaged_weights
from mmrbgan.restoring.face_network import FaceNetwork
from mmrbgan.restoring.onnx_network import OnnxNetwork, pick_engine
from mmrbgan_arch import load_network
from mmrbgan_arch.support.errors import UsageError

pytest.importorskip('onnxruntime')

WITHOUT_TORCH = """
import importlib.abc, sys

NAMES = {'torch', 'torchvision', 'scipy', 'skimage', 'matplotlib', 'facexlib', 'dlib', 'yaml'}

class Missing(importlib.abc.MetaPathFinder):  # what the small installation does not have
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in NAMES:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing())
from mmrbgan import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def call(*arguments, code=WITHOUT_TORCH, **variables):
    environment = os.environ | {'OMP_NUM_THREADS': '1', **variables}
    return subprocess.run([sys.executable, '-c', code, *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture(scope='module')
def astronaut(tmp_path_factory):
    """A photograph with a face in it, small and blurred."""
    from skimage import data

    folder = tmp_path_factory.mktemp('photograph')
    small = cv2.GaussianBlur(cv2.resize(data.astronaut()[:300], None, fx=0.75, fy=0.75), (0, 0), 1.2)
    cv2.imwrite(str(folder / 'photo.png'), small[:, :, ::-1])
    return folder / 'photo.png'


def faces(count, size, seed=0):
    return list(np.random.default_rng(seed).random((count, size, size, 3), dtype=np.float32))


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A tiny network as .safetensors and as `mmrbgan export` writes it."""
    folder = tmp_path_factory.mktemp('weights')
    weights = tiny_weights(folder)
    assert cli.main(['export', '--weights', str(weights), '-o', str(folder / 'other.onnx')]) == 0
    return weights, folder / 'other.onnx'


def test_the_shipped_network_is_the_same_by_both_engines():
    weights = packaged_weights()
    some = faces(3, 128)
    by_torch = FaceNetwork(load_network(weights), 128, torch.device('cpu'), 'float32')(some)
    by_onnx = OnnxNetwork(weights, batch=2)(some)
    assert len(by_onnx) == 3 and by_onnx[0].dtype == np.float32
    assert np.abs(np.array(by_onnx) - np.array(by_torch)).max() < 0.05 / 255


def test_a_photograph_is_restored_without_torch_within_one_level(astronaut, tmp_path):
    for name, found in (('onnx', call), ('torch', None)):
        line = ['restore', str(astronaut), '-o', str(tmp_path / name), '--engine', name]
        if found:
            done = found(*line)
            assert done.returncode == 0, done.stderr
            assert 'by onnxruntime on cpu, float32' in done.stdout and '1 of 1 faces restored' in done.stdout
        else:
            assert cli.main([*line, '--precision', 'float32']) == 0
    by_onnx, by_torch = (cv2.imread(str(tmp_path / name / 'photo.png')).astype(int) for name in ('onnx', 'torch'))
    assert np.abs(by_onnx - by_torch).max() <= 1
    assert np.abs(by_onnx - cv2.imread(str(astronaut)).astype(int)).max() > 8  # and restored it is


def test_the_command_does_not_import_torch_by_itself(astronaut, tmp_path):
    loaded = '{"torch", "skimage", "scipy"} & set(sys.modules)'
    code = f'import sys\nfrom mmrbgan import cli\ncli.main(sys.argv[1:])\nprint("loaded:", *{loaded})'
    done = call('restore', str(astronaut), '-o', str(tmp_path), '--device', 'cpu', code=code)
    assert done.returncode == 0 and 'by onnxruntime' in done.stdout and done.stdout.endswith('loaded:\n'), done.stdout


def test_what_needs_more_than_the_small_installation_is_one_line(astronaut, tmp_path):
    for flags in (['--demo'], [str(astronaut), '--engine', 'torch']):
        done = call('restore', *flags, '-o', str(tmp_path))
        assert done.returncode == 2 and done.stderr.startswith('error: ') and done.stderr.count('\n') == 1, done.stderr
        assert 'not installed' in done.stderr and 'pip install' in done.stderr


@pytest.fixture
def fresh(monkeypatch):
    """As in a process that has not imported torch, on a machine without a GPU."""
    monkeypatch.delitem(sys.modules, 'torch')
    monkeypatch.setattr(onnx_network, 'may_have_a_gpu', lambda: False)


def test_auto_takes_onnxruntime_where_it_does_the_same(fresh, monkeypatch):
    weights = packaged_weights()
    assert pick_engine('auto', weights) == pick_engine('auto', weights, 'cpu', 'float32') == 'onnx'
    assert pick_engine('auto', weights, 'cuda') == pick_engine('auto', weights, precision='bfloat16') == 'torch'
    assert pick_engine('auto', weights, needs_torch=True) == 'torch'
    assert pick_engine('torch', weights) == 'torch'
    monkeypatch.setattr(onnx_network, 'may_have_a_gpu', lambda: True)
    assert (pick_engine('auto', weights), pick_engine('auto', weights, 'cpu')) == ('torch', 'onnx')


def test_auto_keeps_torch_where_it_is_loaded_already():
    assert pick_engine('auto', packaged_weights()) == 'torch'


def test_auto_takes_torch_for_weights_without_a_graph(fresh, exported):
    assert (pick_engine('auto', exported[0]), pick_engine('auto', exported[1])) == ('torch', 'onnx')
    beside = exported[1].with_name(f'{exported[0].stem}.onnx')  # what `mmrbgan export` wrote has weights of its own
    beside.write_bytes(exported[1].read_bytes())
    assert pick_engine('auto', exported[0]) == 'torch'


def test_auto_takes_torch_where_onnxruntime_is_missing(fresh, monkeypatch):
    find = onnx_network.importlib.util.find_spec
    monkeypatch.setattr(
        onnx_network.importlib.util, 'find_spec', lambda name: None if name == 'onnxruntime' else find(name)
    )
    assert pick_engine('auto', packaged_weights()) == 'torch'


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        ({'engine': 'tensorrt'}, '--engine tensorrt: known are auto, torch, onnx'),
        ({'engine': 'onnx', 'device': 'cuda'}, 'on the CPU in float32; found --device cuda'),
        ({'engine': 'onnx', 'precision': 'bfloat16'}, '--precision bfloat16'),
        ({'engine': 'onnx', 'batch': 0}, '--batch 0: must be at least 1'),
    ],
)
def test_what_the_engine_cannot_do_is_one_line(arguments, words):
    with pytest.raises(UsageError, match=words):
        mmrbgan.Restorer(**arguments)


def test_an_exported_network_restores(exported):
    weights, graph = exported
    settings = mmrbgan.Settings(aligned=True)
    by_torch = mmrbgan.Restorer(weights, device='cpu', precision='float32', settings=settings)
    by_onnx = mmrbgan.Restorer(graph, settings=settings)
    assert (by_onnx.network.size, by_onnx.network.batch) == (32, 128)
    pictures = [each.restore(photograph()).image.astype(int) for each in (by_torch, by_onnx)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1 and np.abs(pictures[0] - photograph()).max() > 8


def test_weights_without_a_graph_name_the_way_to_one(exported):
    with pytest.raises(UsageError, match='no ONNX graph; write one with `mmrbgan export'):
        mmrbgan.Restorer(exported[0], engine='onnx')
    with pytest.raises(UsageError, match=r'--engine torch does not run .*other\.onnx'):
        mmrbgan.Restorer(exported[1], engine='torch')


def test_a_graph_that_is_damaged_or_of_another_network_is_one_line(exported, tmp_path):
    weights = tmp_path / 'net.safetensors'
    weights.write_bytes(exported[0].read_bytes())
    for content in (b'', b'no graph', graph_of(packaged_weights()).read_bytes()):
        graph_of(weights).write_bytes(content)
        with pytest.raises(UsageError, match=r'net\.graph\.onnx: damaged, or not the network of net\.safetensors'):
            OnnxNetwork(weights)


def test_weights_that_give_nan_are_refused():
    with pytest.raises(UsageError, match='NaN'):
        OnnxNetwork(packaged_weights())([np.full((128, 128, 3), np.nan, np.float32)])
