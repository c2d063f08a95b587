"""Several processes restore a folder as one would: the same bytes under the same names, one report."""

import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image
from tiny_restoring import photograph, tiny_weights

from mmrbgan.restoring.files.output_folder import OutputFolder
from mmrbgan.restoring.files.own_results import MARKER, OwnResults
from mmrbgan.restoring.files.share import Share

SCRIPT = Path(__file__).parents[1] / 'forked_shares.py'
NAMES = (
    'a.png',
    'a.jpg',
    'a_2.png',
    'A.bmp',
    'b.png',
    'b.tif',
    'c.png',
    'sub/a.png',
    'sub/d.jpg',
    'e_sheet.png',
    'e.png',
)


def test_four_processes_make_what_one_makes_and_go_on_after_a_kill(tmp_path):
    tiny_weights(tmp_path)
    for i, name in enumerate(NAMES):
        (tmp_path / 'in' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(photograph(), 3 * i, 1)).save(tmp_path / 'in' / name)
    (tmp_path / 'in/damaged.png').write_bytes((tmp_path / 'in/a.png').read_bytes()[:60])
    done = subprocess.run([sys.executable, str(SCRIPT)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f'{len(NAMES)} photographs')


@pytest.mark.parametrize('size', [1, 2, 3, 7])
def test_every_input_is_in_one_share_in_its_order(size):
    inputs = [(Path('in') / name, PurePosixPath(name)) for name in NAMES]
    shares = []
    for rank in range(size):
        share = Share()
        share.rank, share.size = rank, size
        shares.append(share.own(inputs))
    assert sorted(each for share in shares for each in share) == sorted(inputs)
    assert all(share == [each for each in inputs if each in share] for share in shares)


def test_names_that_could_meet_are_in_one_share(tmp_path):
    long = 'x' * 250
    names = [*NAMES, f'{long}1.png', f'{long}2.png', 'a_sheet_2.png', 'a_2_2.jpg']
    inputs = [(Path('in') / name, PurePosixPath(name)) for name in names]
    whole = OutputFolder(tmp_path)
    expected = {
        path: [whole.path_for(relative, '.png', ending) for ending in ('', '_sheet')] for path, relative in inputs
    }
    assert len({str(path).lower() for paths in expected.values() for path in paths}) == 2 * len(names)
    for rank in range(3):
        share, folder = Share(), OutputFolder(tmp_path)
        share.rank, share.size = rank, 3
        for path, relative in share.own(inputs):
            assert [folder.path_for(relative, '.png', ending) for ending in ('', '_sheet')] == expected[path]


def test_lists_of_processes_are_read_together_and_become_one(tmp_path):
    OwnResults(tmp_path).add(tmp_path / 'old.png', 3)
    first, second = OwnResults(tmp_path, '.0'), OwnResults(tmp_path, '.1')
    for results, name in ((first, 'a.png'), (second, 'b.png'), (second, 'old.png')):
        results.add(tmp_path / name, 4)
        (tmp_path / name).write_bytes(b'four')
    second.finish({'key': 'b'})
    (tmp_path / f'{MARKER}.1').write_bytes((tmp_path / f'{MARKER}.1').read_bytes() + b'["half')
    OwnResults(tmp_path, '.1').finish({'key': 'c'})
    read = OwnResults(tmp_path)
    assert all(read.has(tmp_path / name) for name in ('a.png', 'b.png', 'old.png'))
    assert [note['key'] for note in read.finished()] == ['b', 'c']
    read.fold()
    assert [path.name for path in tmp_path.glob(f'{MARKER}*')] == [MARKER]
    read = OwnResults(tmp_path)
    assert all(read.has(tmp_path / name) for name in ('a.png', 'b.png', 'old.png')) and not list(read.finished())
    (tmp_path / 'a.png').write_bytes(b'changed')
    assert not OwnResults(tmp_path).has(tmp_path / 'a.png')


def test_what_killed_processes_left_half_written_goes_but_nothing_else(tmp_path):
    for place in ('out', 'out/sub', 'out/other', 'elsewhere'):
        (tmp_path / place).mkdir()
        (tmp_path / place / '.mmrbgan.part-0123').write_bytes(b'half')
    (tmp_path / 'out/link').symlink_to(tmp_path / 'elsewhere')
    OutputFolder(tmp_path / 'out').fold(map(PurePosixPath, ('a.png', 'sub/a.png', 'link/a.png', 'gone/a.png')))
    left = {path.parent.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('.mmrbgan.part-*')}
    assert left == {'out/other', 'elsewhere'}
