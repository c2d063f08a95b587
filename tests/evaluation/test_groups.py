"""`mmrbgan evaluate --by`: groups from a table or from file names, every metric in each, the worst one named."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmrbgan import cli
from mmrbgan.evaluation.groups import find_groups
from mmrbgan.evaluation.record import Part, Summary, read_record
from mmrbgan.evaluation.scoring import worst_parts
from mmrbgan_arch.support.errors import UsageError

NAMES = ['me_asian_female_1', 'me_black_female_2', 'me_black_male_3', 'helen_4']


@pytest.fixture
def table(tmp_path):
    def write(text: str) -> str:
        (tmp_path / 'groups.csv').write_text(text)
        return str(tmp_path / 'groups.csv')

    return write


def counts(by):
    return {one.name: {label: int(mask.sum()) for label, mask in one.masks(NAMES)} for one in find_groups(by, NAMES)}


def test_parts_of_a_name_are_groupings():
    assert counts('^me_(?P<people>[a-z]+)_(?P<sex>[a-z]+)_') == {
        'people': {'asian': 1, 'black': 2, 'unknown': 1},
        'sex': {'female': 2, 'male': 1, 'unknown': 1},
    }
    assert list(counts('^me_([a-z]+)_')) == ['group']


def test_columns_of_a_table_are_groupings(table):
    path = table('file,people,age\nme_asian_female_1.jpg,asian,old\nhelen_4.png,other,young\n')
    assert counts(path) == {
        'people': {'asian': 1, 'other': 1, 'unknown': 2},
        'age': {'old': 1, 'young': 1, 'unknown': 2},
    }


@pytest.mark.parametrize(
    ('by', 'complaint'),
    [
        ('^me_', 'no part in parentheses'),
        ('(me', 'neither a file nor a regular expression'),
        ('(xyz)', 'knows no group of any of the 4 faces'),
        ('missing.csv', 'not a table'),
    ],
)
def test_impossible_groups_are_refused(by, complaint):
    with pytest.raises(UsageError, match=complaint):
        find_groups(by, NAMES)


def test_a_ragged_table_is_refused(table):
    with pytest.raises(UsageError, match='all of one length'):
        find_groups(table('file,group\nx.png\n'), NAMES)


def test_every_metric_by_group(tmp_path, monkeypatch, capsys):
    """Ten faces a group; those of the second are off by two levels instead of one."""
    monkeypatch.chdir(tmp_path)
    for folder in ('gt', 'out'):
        Path(folder).mkdir()
    rng = np.random.default_rng(0)
    for i in range(20):
        picture = rng.integers(9, 240, (16, 16, 3), np.uint8)
        name = f'{"ab"[i // 10]}_{i}.png'
        cv2.imwrite(f'gt/{name}', picture)
        cv2.imwrite(f'out/{name}', picture + 1 + i // 10)
    assert cli.main(['evaluate', 'out', '--gt', 'gt', '--by', '^([ab])_', '--metrics', 'psnr']) == 0
    parts = read_record(Path('evaluations/out.json')).groups['group']
    assert [(part.label, part.count) for part in parts] == [('a', 10), ('b', 10)]
    assert [part.summaries['psnr'].mean for part in parts] == pytest.approx([48.13, 42.11], abs=0.01)
    assert 'worst group, of those with 10 faces: PSNR ↑                     b 42.110' in capsys.readouterr().out
    assert cli.main(['report', 'evaluations']) == 0
    assert '## By group' in Path('report/report.md').read_text(encoding='utf-8')


def test_the_worst_is_by_direction_and_of_parts_with_enough_faces():
    def part(label, count, value):
        return Part(label, count, {'skin': Summary(value, None, None, count)})

    (line,) = worst_parts([part('a', 10, 1.0), part('b', 12, 2.0), part('few', 9, 3.0)])
    assert line.startswith('Skin ΔE ↓') and line.endswith('b 2.00')
    assert worst_parts([part('a', 10, 1.0), part('few', 9, 3.0)]) == []
