"""`mmrbgan doctor`: what is merely absent is no fault, what is broken is, and each has its cure."""

import argparse
import importlib.metadata
import importlib.util

import pytest
from packaging.requirements import Requirement

from mmrbgan.commands import doctor
from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError


def diagnose(capsys):
    """Return the status, and name -> (state, words)."""
    status = doctor.run(argparse.Namespace())
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.startswith('  ')]
    return status, {rest[:20].strip(): (state, rest[20:].strip()) for state, rest in rows}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path))
    return tmp_path


def test_without_basicsr_restoring_works_and_training_is_absent(monkeypatch, capsys):
    monkeypatch.setattr(basicsr_bridge, 'is_available', lambda: False)
    monkeypatch.setattr('sys.version_info', (3, 13, 0))
    monkeypatch.setattr(basicsr_bridge, 'how_to_install', lambda: 'take Python 3.10 to 3.12')
    status, found = diagnose(capsys)
    assert (status, found['restore'][0], found['train, test'][0]) == (0, 'ok', 'absent')
    assert '128 px' in found['restore'][1] and 'take Python 3.10 to 3.12' in found['train, test'][1]


def test_a_basicsr_that_cannot_be_imported_is_broken(monkeypatch, capsys):
    def fail():
        raise UsageError('basicsr cannot be imported (no module x)')

    monkeypatch.setattr(basicsr_bridge, 'is_available', lambda: True)
    monkeypatch.setattr(basicsr_bridge, 'connect', fail)
    status, found = diagnose(capsys)
    assert status == 1
    assert found['train, test'] == ('BROKEN', 'basicsr cannot be imported (no module x); restoring does without it')


def test_damaged_weights_are_broken_with_the_cure(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr('mmrbgan.restoring.restorer.choose_weights', lambda _: tmp_path / 'gone.pth')
    status, found = diagnose(capsys)
    assert status == 1 and found['restore'][0] == 'BROKEN' and '--force-reinstall' in found['restore'][1]


def test_the_small_installation_is_whole(monkeypatch, capsys):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name, *rest: None if name == 'torch' else find(name, *rest))
    monkeypatch.setattr(basicsr_bridge, 'is_available', lambda: False)
    status, found = diagnose(capsys)
    assert (status, found['torch'][0], found['restore'][0]) == (0, 'absent', 'ok')
    assert 'float32 by onnxruntime on cpu' in found['restore'][1]
    assert 'packages' not in found and 'device' not in found


def test_a_package_that_is_too_old_is_named_with_what_is_wanted(monkeypatch, capsys):
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, 'version', lambda name: '2.4.1' if name == 'torch' else version(name))
    status, found = diagnose(capsys)
    assert status == 1 and 'torch 2.4.1 is not >=2.6; ' in found['packages'][1]


def test_an_extra_that_is_not_here_says_how_to_have_it(monkeypatch, capsys):
    monkeypatch.setattr(doctor, '_unmet', lambda requirement: requirement.name if requirement.name == 'gradio' else '')
    status, found = diagnose(capsys)
    assert status == 0 and found['ui'][0] == 'absent' and "pip install 'mmrbgan[ui]'" in found['ui'][1]
    assert found['heic'][0] == 'ok'


def test_every_extra_has_a_purpose():
    extras = importlib.metadata.metadata('mmrbgan').get_all('Provides-Extra')
    assert {*doctor.PURPOSES, 'all'} == set(extras)


def test_public_weights_are_listed_with_the_way_to_them(home, capsys):
    _, found = diagnose(capsys)
    assert found['gpen-bfr-512'] == ('absent', '`mmrbgan weights get gpen-bfr-512`')
    assert found['vgg19'][0] == 'absent' or 'vgg19-dcbb9e9d.pth' in found['vgg19'][1]
    (home / 'weights/gpen-bfr-512').mkdir(parents=True)
    for name in ('net_g.pth', 'net_d.pth'):
        (home / 'weights/gpen-bfr-512' / name).write_bytes(b'')
    assert diagnose(capsys)[1]['gpen-bfr-512'] == ('ok', str(home / 'weights/gpen-bfr-512'))


def test_markers_decide_what_a_requirement_is_for(monkeypatch):
    lines = ['torch>=2.6', 'lmdb>=1.4; extra == "train"', 'basicsr; python_version < "3" and extra == "train"']
    monkeypatch.setattr(importlib.metadata, 'requires', lambda _: lines)
    assert [str(item) for item in doctor._requirements()] == ['torch>=2.6']
    assert [item.name for item in doctor._requirements('train')] == ['lmdb']
    assert doctor._unmet(Requirement('no-such-package>=1')) == 'no-such-package is not installed'
