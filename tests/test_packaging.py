"""What is built: every file of the packages is in the wheel, and the wheel can be built from the source archive."""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDERS = {
    'mmrbgan': 'mmrbgan',
    'mmrbgan_arch': 'mmrbgan_arch',
    'mmrbgan_model': 'mmrbgan_model',
    'mmrbgan_data': 'data',
    'mmrbgan/option_files': 'options',
}
"""Folder in the wheel -> folder in the checkout."""

BUILD = (
    'from setuptools import build_meta as backend; import sys; '
    'print(getattr(backend, f"build_{sys.argv[1]}")(sys.argv[2]))'
)


def build(kind, folder, output):
    """Build in ``folder`` with the setuptools of this environment, without the network; return the file."""
    done = subprocess.run([sys.executable, '-c', BUILD, kind, output], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output / done.stdout.splitlines()[-1]


def ours(folder):
    found = (path for path in (ROOT / folder).rglob('*') if path.is_file() and '__pycache__' not in path.parts)
    return {path.relative_to(ROOT / folder).as_posix() for path in found}


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    """The source archive, and the wheel made from what it holds and nothing else."""
    output = tmp_path_factory.mktemp('dist')
    clean = output / 'checkout'
    listed = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('needs the git checkout')
    for name in filter(lambda name: (ROOT / name).is_file(), listed.stdout.splitlines()):
        (clean / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(ROOT / name, clean / name)
    sdist = build('sdist', clean, output)
    with tarfile.open(sdist) as archive:
        archive.extractall(output, filter='data')
    source = output / sdist.name.removesuffix('.tar.gz')
    return source, build('wheel', source, output)


def test_every_file_of_the_packages_is_in_the_wheel_made_from_the_source_archive(archives):
    held = set(zipfile.ZipFile(archives[1]).namelist())
    wanted = {f'{package}/{name}' for package, folder in FOLDERS.items() for name in ours(folder)}
    assert wanted - held == set()
    assert {name.partition('/')[0] for name in held if '.dist-info' not in name} == set(FOLDERS) - {
        'mmrbgan/option_files'
    }


def test_the_source_archive_holds_what_builds_and_tests_need(archives):
    for name in ('VERSION', 'LICENSE', 'CHANGELOG.md', 'tests/conftest.py', 'benchmarks/inference.py', 'docs/paper.md'):
        assert (archives[0] / name).is_file(), name


def test_every_extra_is_in_all_and_restoring_needs_no_basicsr():
    requires = [Requirement(text) for text in importlib.metadata.requires('mmrbgan')]
    environment = {'python_version': '3.11', 'extra': ''}
    base = {item.name for item in requires if item.marker is None or item.marker.evaluate(environment)}
    assert base.isdisjoint({'basicsr', 'lmdb', 'tensorboard', 'setuptools'}) and 'torch' in base
    names = {}
    for extra in importlib.metadata.metadata('mmrbgan').get_all('Provides-Extra'):
        marked = (item for item in requires if item.marker and item.marker.evaluate(environment | {'extra': extra}))
        names[extra] = {item.name for item in marked}
    assert names['all'] == set().union(*names.values())
    assert {'basicsr', 'lmdb', 'tensorboard'} <= names['train']


RESTORE_ALONE = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):  # what only extras bring
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'basicsr', 'lmdb', 'tensorboard', 'lpips', 'onnx', 'gradio', 'setuptools'}:
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Missing())
from mmrbgan import cli
status = cli.main(['restore', '--demo'])
print(status, cli.main(['prepare', 'mmrbgan_demo', '-o', 'set', '--lmdb']))
"""


def test_the_demo_runs_with_nothing_that_an_extra_brings(tmp_path):
    environment = os.environ | {'OMP_NUM_THREADS': '1', 'MMRBGAN_HOME': str(tmp_path / 'home')}
    command = [sys.executable, '-c', RESTORE_ALONE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == '0 2', done.stderr
    assert "error: an LMDB needs the package lmdb; `pip install lmdb`, or 'mmrbgan[train]'" in done.stderr
    assert (tmp_path / 'mmrbgan_demo/restored.png').is_file()
