"""`mmrbgan evaluate --time`: the paper's Table 6, in its short form and on real faces one by one, with their IFQA."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mmrbgan import cli
from mmrbgan.evaluation.timing import SIZE, TimedFaces, read_timings
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.weights_io import write_weights
from mmrbgan_data.images import write_image
from mmrbgan_model.metrics.ifqa import IFQANet, ifqa

INPUT = {'type': 'MMRBGANClassical', 'method': 'input'}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three faces of 512 px and the option file of a method that returns its input."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path / 'home'))
    rng = np.random.default_rng(0)
    for number in range(3):
        write_image(tmp_path / 'faces' / f'{number}.png', rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8))
    Path('same.yml').write_text(yaml.safe_dump({'network_g': INPUT}))
    return tmp_path


def time(*arguments, status=0):
    assert cli.main(['evaluate', '--device', 'cpu', '--time', *arguments]) == status
    return read_timings(Path('evaluations/timing.json')) if status == 0 else []


def test_the_short_form_takes_five_passes_of_noise(folder):
    (timing,) = time('same.yml')
    assert (timing.repeats, timing.faces, timing.ifqa, timing.ifqa_missing) == (5, 'noise', None, None)
    assert timing.low <= timing.median <= timing.high


def test_real_faces_go_through_one_by_one_each_as_often(folder, monkeypatch):
    seen = []
    monkeypatch.setattr(TimedFaces, '__iter__', note(TimedFaces.__iter__, seen))
    (timing,) = time('same.yml', '--faces', 'faces', '--repeats', '6')
    assert timing.repeats == 6 and timing.faces.startswith('3 faces of faces')
    assert sorted(seen) == sorted(2 * [int(face.sum()) for face in TimedFaces('faces', 3)])


def note(iterate, seen):
    def noting(self):
        for face in iterate(self):
            seen.append(int(face.sum()))
            yield face

    return noting


def test_a_hundred_faces_are_the_default_and_a_choice_repeats(folder):
    faces = TimedFaces('faces', 2)
    assert faces.places == TimedFaces('faces', 2).places and len(set(faces.places)) == 2
    assert time('same.yml', '--faces', 'faces')[0].repeats == 100


def test_ifqa_of_the_restored_faces_stands_beside_the_seconds(folder):
    torch.manual_seed(0)
    torch.save({'D': IFQANet().state_dict()}, 'ifqa.pth')
    (timing,) = time('same.yml', '--faces', 'faces', '--repeats', '3', '--weights', 'ifqa=ifqa.pth')
    pictures = np.stack(list(TimedFaces('faces', 3)))  # the method returns its input
    assert timing.ifqa == pytest.approx(float(ifqa(pictures, 'ifqa.pth', 'cpu').mean()), abs=1e-5)
    assert cli.main(['report', 'evaluations']) == 0
    table = Path('report/report.md').read_text()
    row = next(line for line in table.splitlines() if line.startswith('| same |'))
    assert row.split('|')[2].strip() == f'{timing.ifqa:.4f}'
    assert 'IFQA ↑ | Seconds ↓' in table and 'IFQA is missing' not in table


def test_ifqa_whose_weights_are_not_there_is_named(folder, capsys):
    (timing,) = time('same.yml', '--faces', 'faces', '--repeats', '1')
    assert timing.ifqa is None and 'left out: IFQA: ifqa needs IFQA_Metric.pth' in capsys.readouterr().out
    assert cli.main(['report', 'evaluations']) == 0
    table = Path('report/report.md').read_text()
    assert 'IFQA is missing: ifqa needs IFQA_Metric.pth' in table
    assert any(
        line.startswith('| *DMDNet (paper)*') and '0.385' in line and '0.021' in line for line in table.splitlines()
    )


def test_weights_of_the_option_file_are_in_the_network_and_named(folder):
    network = {'type': 'MMRBGAN', 'out_size': SIZE, 'narrow': 1 / 64}
    Path('ours.yml').write_text(yaml.safe_dump({'network_g': network, 'path': {'pretrain_network_g': 'net.pth'}}))
    (timing,) = time('ours.yml', '--faces', 'faces', '--repeats', '1')
    assert timing.weights == 'random weights' and timing.ifqa_missing == 'ours has random weights'
    write_weights('net.pth', MMRBGAN(out_size=SIZE, narrow=1 / 64).state_dict())
    (timing,) = time('ours.yml', '--faces', 'faces', '--repeats', '1')
    assert timing.weights.startswith('net.pth sha256 ') and 'IFQA_Metric.pth' in timing.ifqa_missing


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--faces', 'gone'], 'gone'),
        (['--faces', 'small'], '0.png is 64x64; name a folder of faces of 512 px'),
        (['--faces', 'damaged'], '--faces: damaged/0.png'),
        (['--faces', 'faces', '--repeats', '0'], '--repeats: at least 1'),
    ],
)
def test_faces_that_cannot_be_timed_are_one_line(folder, capsys, arguments, message):
    write_image(folder / 'small' / '0.png', np.zeros((64, 64, 3), np.uint8))
    (folder / 'damaged').mkdir()
    (folder / 'damaged' / '0.png').write_text('no picture')
    time('same.yml', *arguments, status=2)
    error = capsys.readouterr().err
    assert message in error and sum(line.startswith('error: ') for line in error.splitlines()) == 1
