"""What is built: every file of the packages is in the wheel, and the wheel can be built from the source archive."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
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


def test_the_page_on_installing_has_a_row_for_every_extra():
    page = (ROOT / 'docs/install.md').read_text(encoding='utf-8')
    extras = importlib.metadata.metadata('mmrbgan').get_all('Provides-Extra')
    assert [extra for extra in extras if f'| `{extra}` |' not in page] == []


@pytest.mark.parametrize('path', sorted((ROOT / '.github').rglob('*.yml')), ids=lambda path: path.name)
def test_forms_and_workflows_are_yaml_and_call_scripts_that_exist(path):
    text = path.read_text(encoding='utf-8')
    assert isinstance(yaml.safe_load(text), dict)
    called = re.findall(r'(?:bash|-f) ((?:\.ci|runs|docker)/\S+)', text)
    assert [name for name in called if not (ROOT / name).is_file()] == []


def test_a_bug_report_asks_for_the_doctor():
    form = yaml.safe_load((ROOT / '.github/ISSUE_TEMPLATE/bug.yml').read_text(encoding='utf-8'))
    doctor = next(field for field in form['body'] if field['id'] == 'doctor')
    assert 'mmrbgan doctor' in doctor['attributes']['label'] and doctor['validations']['required']


@pytest.fixture
def repository(tmp_path):
    """A clone's least, in which runs/release.sh can look at version and changelog."""
    for name in ('runs/release.sh', 'VERSION', 'CHANGELOG.md'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / 'VERSION').write_text('1.2.3\n')
    (tmp_path / 'CHANGELOG.md').write_text('# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- New.\n')
    identity = ('-c', 'user.name=tests', '-c', 'user.email=tests@localhost')

    def git(*arguments):
        subprocess.run(['git', *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git('init')
    git('add', '.')
    git('commit', '-m', 'Begin')
    return tmp_path, git


def release(folder):
    """Try a release up to its build, for which nothing is here; return what it said."""
    stopped = folder.with_name('bin')
    stopped.mkdir(exist_ok=True)
    (stopped / 'uv').write_text('#!/bin/sh\necho BUILDING; exit 1\n')
    (stopped / 'uv').chmod(0o755)
    environment = os.environ | {'PATH': f'{stopped}:{os.environ["PATH"]}'}
    command = ['bash', 'runs/release.sh', '--no-tests']
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    return 'BUILDING' if 'BUILDING' in done.stdout else done.stderr.strip()


def test_a_release_whose_version_and_changelog_agree_is_built(repository):
    assert release(repository[0]) == 'BUILDING'


@pytest.mark.parametrize(
    ('name', 'text', 'reason'),
    [
        ('VERSION', '1.2', 'no X.Y.Z'),
        ('CHANGELOG.md', '## [Unreleased]\n\n- A line.\n\n## [1.2.3] - 2026-01-02\n', '1 lines under Unreleased'),
        ('CHANGELOG.md', '## [Unreleased]\n\n## [1.2.3]\n', r"no line '## \[1.2.3\] - YYYY-MM-DD'"),
    ],
)
def test_a_release_that_is_not_ready_says_why(repository, name, text, reason):
    folder, git = repository
    (folder / name).write_text(text)
    git('commit', '-am', 'Change')
    assert re.search(f'NOT READY: .*{reason}', release(folder))


def test_a_release_is_made_of_what_is_committed_and_only_once(repository):
    folder, git = repository
    git('tag', 'v1.2.3')
    assert 'the tag v1.2.3 is there already' in release(folder)
    (folder / 'new.py').write_text('')
    assert 'changes that are not committed' in release(folder)
