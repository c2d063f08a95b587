"""`mmrbgan report results/NAME`: what `basicsr test` left is scored first, then shown beside the paper's rows."""

import shutil
from pathlib import Path

import pytest
import yaml
from tiny_run import SIZE, make_faces

from mmrbgan import cli
from mmrbgan.report.unscored import read_options


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two tiny faces; no weights but those of packages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path / 'home'))
    make_faces('faces', 2)
    return tmp_path


def run_test(kind='gt', save_img=True, **dataset):
    """Test a method without weights, as a user does."""
    given = {'name': 'lfw' if kind == 'lq' else 'some', f'dataroot_{kind}': 'faces', 'image_size': SIZE, 'seed': 0}
    options = {
        'name': 'tiny_test',
        'model_type': 'MMRBGANModel',
        'num_gpu': 0,
        'manual_seed': 0,
        'datasets': {'test': {'type': 'MMRBGANTestDataset', **given, **dataset}},
        'network_g': {'type': 'MMRBGANClassical', 'method': 'input'},
        'path': {},
        'val': {'save_img': save_img, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    }
    Path('test.yml').write_text(yaml.safe_dump(options))
    assert cli.main(['test', '-opt', 'test.yml']) == 0


def report(status=0):
    assert cli.main(['report', 'results/tiny_test']) == status
    return Path('report/report.md').read_text() if status == 0 else ''


@pytest.mark.parametrize(
    ('dataset', 'table', 'quoted'),
    [
        ({}, 'Table 1', '| *GFPGAN (paper)* | 24.895 | 0.688 |'),
        ({'super_resolution': 4}, 'Table 2', '| *Bicubic (paper)* | 23.757 | 0.641 |'),
        ({'kind': 'lq'}, 'Tables 3 and 4', '| *Input (paper)* | 0.298 | 5.454 |'),
    ],
)
def test_a_bare_test_run_is_scored_and_quoted(folder, capsys, dataset, table, quoted):
    run_test(**dataset)
    text = report()
    assert f"(the paper's {table})" in text and quoted in text and '| tiny_test |' in text
    printed = capsys.readouterr().out
    assert 'results/tiny_test is not scored yet: mmrbgan evaluate results/tiny_test/visualization/' in printed
    assert report() == text and 'not scored yet' not in capsys.readouterr().out


def test_data_named_from_where_the_test_began_is_found_from_elsewhere(folder, monkeypatch):
    run_test()
    (folder / 'else').mkdir()
    monkeypatch.chdir(folder / 'else')
    assert cli.main(['report', '../results/tiny_test']) == 0
    assert '| tiny_test |' in Path('report/report.md').read_text()


@pytest.mark.parametrize(
    ('break_it', 'message'),
    [
        (lambda: shutil.rmtree('faces'), 'faces is gone; score it with `mmrbgan evaluate'),
        (lambda: shutil.rmtree('results/tiny_test/visualization'), 'test again with val.save_img: true'),
        (lambda: next(Path('results/tiny_test').glob('*.log')).write_text('cut'), 'names no dataset'),
    ],
)
def test_a_run_that_cannot_be_scored_is_one_line(folder, capsys, break_it, message):
    run_test()
    break_it()
    capsys.readouterr()
    report(status=2)
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_basicsrs_own_log_is_understood():
    from basicsr.utils.options import dict2str

    options = {'name': 'x', 'datasets': {'test_1': {'name': 'Set5', 'dataroot_gt': '/a: b', 'scale': [1, 2]}}, 'n': 1}
    lines = ['2026-01-01 00:00:00,000 INFO: ', *dict2str(options).splitlines(), 'INFO: Loading: x']
    found = read_options(lines)
    assert found['datasets'] == {'test_1': {'name': 'Set5', 'dataroot_gt': '/a: b', 'scale': '[1, 2]'}}
    assert found['name'] == 'x' and found['n'] == '1'
