"""Records that somebody damaged are one line for `mmrbgan report`."""

import json

import pytest

from mmrbgan.cli import main
from mmrbgan.evaluation.record import FORMAT
from mmrbgan_data.components import read_landmarks

GOOD = {
    'format': FORMAT, 'method': 'm', 'table': 'real', 'count': 1, 'folders': {'restored': 'x'},
    'hashes': {'restored': 'ab'}, 'excluded': [], 'summaries': {}, 'poses': [], 'pose_source': None, 'provenance': {},
    'left_out': {}, 'faces': [{'name': 'a'}], 'weights': None, 'device': 'cpu', 'versions': {},
}  # fmt: skip
DAMAGE = {
    'method': 7, 'count': 'x', 'folders': [], 'hashes': {},
    'summaries': {'psnr': {'mean': 'a', 'low': 0, 'high': 0, 'count': 1}},
    'faces': ['a'], 'versions': {'torch': 3}, 'provenance': None, 'excluded': [1]
}  # fmt: skip


@pytest.mark.parametrize('field', DAMAGE)
def test_a_damaged_field_is_one_line(tmp_path, capsys, field):
    path = tmp_path / 'record.json'
    path.write_text(json.dumps(GOOD | {field: DAMAGE[field]}))
    status = main(['report', str(path), '-o', str(tmp_path / 'out')])
    error = capsys.readouterr().err
    assert status == 2 and error.startswith(f'error: {path}: ') and error.count('\n') == 1


@pytest.mark.parametrize('content', ['[' * 100_000, '{"format": ' + '[' * 100_000, '\0', ''])
def test_depth_and_rubbish_are_one_line(tmp_path, capsys, content):
    path = tmp_path / 'record.json'
    path.write_text(content)
    assert main(['report', str(path), '-o', str(tmp_path / 'out')]) == 2
    assert capsys.readouterr().err.startswith(f'error: {path}: ')


@pytest.mark.parametrize('line', ['a,68,0,' + '1' * 200_000, 'a,99999999999999999999,0,1', 'a,68,0,1\0,2', 'a,-1,0,1'])
def test_a_damaged_line_of_landmarks_is_a_value_error(tmp_path, line):
    path = tmp_path / 'landmarks.csv'
    path.write_text(line + '\n')
    with pytest.raises(ValueError, match=r'.'):
        read_landmarks(path)
