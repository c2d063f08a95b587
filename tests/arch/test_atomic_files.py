"""Every file is written by one function: whole or not at all, no link followed, and errors name the file itself."""

import ast
import os
from pathlib import Path

import pytest
from full_disk import full_disk

from mmrbgan_arch.support.atomic_files import append_bytes, write_bytes, write_text, writing
from mmrbgan_arch.support.errors import UsageError

ROOT = Path(__file__).parents[2]
PACKAGES = ('mmrbgan', 'mmrbgan_arch', 'mmrbgan_model', 'data')
WRITERS = {'write_text', 'write_bytes', 'imwrite', 'copy2', 'copyfile', 'save_file', 'tofile', 'savez', 'to_file'}
OWN = {
    'mmrbgan_arch/support/atomic_files.py',
    'mmrbgan_arch/support/fetch.py',  # goes on with a part
    'mmrbgan/restoring/film/encoding.py',  # FFmpeg writes, to a name that is taken when the file is whole
    'mmrbgan/restoring/film/joining.py',  # the same
}


def test_a_full_disk_leaves_what_was_there(tmp_path):
    path = tmp_path / 'a.json'
    path.write_bytes(b'good')
    with full_disk(), pytest.raises(OSError, match=r'a\.json') as caught:
        write_bytes(path, bytes(1000))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b'good' and list(tmp_path.iterdir()) == [path]


def test_no_link_is_followed(tmp_path):
    victim, path = tmp_path / 'victim', tmp_path / 'new.json'
    victim.write_bytes(b'mine')
    path.symlink_to(victim)
    write_text(path, 'new')
    assert victim.read_bytes() == b'mine' and path.read_text() == 'new' and not path.is_symlink()
    (tmp_path / 'log').symlink_to(victim)
    with pytest.raises(OSError, match='symbolic links'):
        append_bytes(tmp_path / 'log', b'more')
    assert victim.read_bytes() == b'mine'


def test_the_name_beside_cannot_be_foreseen_nor_taken(tmp_path, monkeypatch):
    names = []
    real = os.open
    monkeypatch.setattr(os, 'open', lambda path, *rest, **more: names.append((str(path), rest)) or real(path, *rest))
    for _ in range(2):
        write_bytes(tmp_path / 'a', b'x')
    parts = [(name, rest) for name, rest in names if '.part-' in name]
    assert len(parts) == 2 and parts[0][0] != parts[1][0] and len(parts[0][0].rpartition('.part-')[2]) >= 16
    assert all(rest[0] & os.O_EXCL and rest[0] & os.O_NOFOLLOW for _, rest in parts)


def test_a_name_that_is_too_long_is_the_one_that_is_named(tmp_path):
    with pytest.raises(UsageError) as caught, writing(tmp_path, 'name another'):
        write_bytes(tmp_path / ('x' * 300), b'x')
    assert 'x' * 300 in str(caught.value) and '.part' not in str(caught.value)


def test_rights_follow_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / 'a', b'x')
    finally:
        os.umask(before)
    assert (tmp_path / 'a').stat().st_mode & 0o777 == 0o640


def opens_to_write(call):
    modes = [each.value for each in [*call.args, *(k.value for k in call.keywords)] if isinstance(each, ast.Constant)]
    name = getattr(call.func, 'attr', getattr(call.func, 'id', ''))
    return name == 'open' and any(
        isinstance(mode, str) and mode[:1] in ('w', 'a', 'x') and len(mode) < 4 for mode in modes
    )


def test_nothing_else_writes_files():
    found = []
    for file in sorted(path for package in PACKAGES for path in (ROOT / package).rglob('*.py')):
        name = file.relative_to(ROOT).as_posix()
        calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
        for call in calls if name not in OWN else ():
            func = call.func
            method = isinstance(func, ast.Attribute) and func.attr in WRITERS
            owner = getattr(getattr(func, 'value', None), 'id', '')
            if (method and owner not in ('atomic_files', 'tifffile', 'np')) or opens_to_write(call):
                found.append(f'{name}:{call.lineno}')
    assert not found
