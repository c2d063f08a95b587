"""Full and read-only disks: `test`, `evaluate` and `report` end in one line, and leave what was there."""

import pytest
import tiny_run
import torch
import yaml
from full_disk import full_disk, read_only_disk

from mmrbgan.cli import main
from mmrbgan_arch import MMRBGAN, basicsr_bridge
from mmrbgan_arch.weights_io import write_weights


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Faces, their records, and options for a test of a network with random weights."""
    monkeypatch.chdir(tmp_path)
    tiny_run.make_faces('faces', 3)
    assert main(['evaluate', 'faces', '--gt', 'faces', '--metrics', 'psnr']) == 0
    return tmp_path


def options_of_a_test(folder):
    network = tiny_run.options()['network_g']
    torch.manual_seed(0)
    write_weights(
        folder / 'net.pth', MMRBGAN(**{key: value for key, value in network.items() if key != 'type'}).state_dict()
    )
    faces = {'name': 'faces', 'type': 'MMRBGANTestDataset', 'dataroot_gt': 'faces', 'image_size': tiny_run.SIZE}
    content = {
        'name': 'scored',
        'model_type': 'MMRBGANModel',
        'num_gpu': 0,
        'datasets': {'test': faces},
        'network_g': network,
        'path': {'pretrain_network_g': 'net.pth'},
        'val': {'save_img': True, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }
    (folder / 'test.yml').write_text(yaml.safe_dump(content))
    return ['test', '-opt', 'test.yml']


CALLS = {
    'test': options_of_a_test,
    'evaluate': lambda _: ['evaluate', 'faces', '--gt', 'faces', '--metrics', 'psnr', '--out', 'scores/one.json'],
    'evaluate over': lambda _: ['evaluate', 'faces', '--gt', 'faces', '--metrics', 'psnr'],
    'report': lambda _: ['report', 'evaluations', '-o', 'shown'],
}
DISKS = {'full': lambda: full_disk(300), 'nearly full': lambda: full_disk(3000), 'read-only': read_only_disk}


@pytest.mark.parametrize('disk', DISKS)
@pytest.mark.parametrize('what', CALLS)
def test_a_disk_that_takes_nothing_is_one_line(folder, capsys, what, disk):
    if what == 'test' and not basicsr_bridge.is_available():
        pytest.skip('basicsr is not installed')
    call = CALLS[what](folder)
    before = {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
    capsys.readouterr()
    with DISKS[disk]():
        status = main(call)
    error = capsys.readouterr().err
    if disk == 'nearly full' and status == 0:
        pytest.skip('it fits')
    assert status == 2 and 'Traceback' not in error
    lines = [line for line in error.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1 and 'cannot be written' in lines[0]
    assert {path: path.read_bytes() for path in before} == before
    assert not list(folder.rglob('.mmrbgan*part*'))
