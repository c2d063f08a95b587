"""`mmrbgan restore` on folders with anything in them: every file ends in a line, nothing is written elsewhere."""

import dataclasses
import io
import json
import os
import pickle
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import full_disk
from PIL import Image
from safetensors.torch import load_file
from tiny_restoring import photograph, stand_in, tiny_weights

from mmrbgan import cli
from mmrbgan.restoring import job, restorer
from mmrbgan.restoring.files.own_results import MARKER


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp('weights'))


@pytest.fixture
def call(weights, monkeypatch, tmp_path, capsys):
    """Run the command with a stand-in for the detector; return status, stdout, stderr."""
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: stand_in)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, own_weights=True):
        own = ['--weights', str(weights)] if own_weights else []
        status = cli.main(['restore', '--device', 'cpu', *own, *map(str, arguments)])
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / 'in'
    folder.mkdir()
    return folder


def save(path, image=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph() if image is None else image).save(path, **options)
    return path


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file() and path.name != MARKER)


def test_folder_keeps_its_structure(call, folder, tmp_path):
    save(folder / 'a.png')
    save(folder / 'sub' / 'ä b.jpg')
    status, out, _ = call(folder, '-o', tmp_path / 'out')
    assert status == 0
    assert files_below(tmp_path / 'out') == ['a.png', 'sub/ä b.png']
    assert '2 of 3 faces restored; 1 left alone: too small' in out


def test_one_photograph_into_one_file(call, folder, tmp_path):
    source = save(folder / 'a.png')
    assert call(source, '-o', tmp_path / 'new' / 'b.jpg')[0] == 0
    assert Image.open(tmp_path / 'new' / 'b.jpg').format == 'JPEG'


def test_one_photograph_into_a_kind_that_is_not_written_is_refused(call, folder, tmp_path):
    status, _, err = call(save(folder / 'a.png'), '-o', tmp_path / 'b.heic')
    assert status == 2 and f'-o {tmp_path / "b.heic"}: cannot write .heic; known are .bmp,' in err
    assert not (tmp_path / 'b.heic').exists()


def test_unchanged_photograph_is_copied_byte_for_byte(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: lambda image: [])
    source = save(folder / 'a.jpg', quality=40)
    _, out, _ = call(source, '-o', tmp_path / 'out')
    assert (tmp_path / 'out' / 'a.jpg').read_bytes() == source.read_bytes()
    assert 'no face, copied as it is' in out


def test_an_uncertain_face_is_listed_and_restored_only_when_asked(call, folder, tmp_path, monkeypatch):
    unsure = [dataclasses.replace(face, certain=number == 0) for number, face in enumerate(stand_in(None))]
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: lambda image: unsure)
    source = save(folder / 'a.png')
    _, out, _ = call(source, '-o', tmp_path / 'out', '--json', '--min-face', '0')
    faces = json.loads((tmp_path / 'out' / 'faces.json').read_text())['photos'][0]['faces']
    assert [face['restore'] for face in faces] == [True, False, False]
    assert '1 of 3 faces restored; 2 left alone: uncertain, restored with --faces all-uncertain' in out
    _, out, _ = call(source, '-o', tmp_path / 'out2', '--faces', 'all-uncertain', '--min-face', '0')
    assert '3 of 3 faces restored' in out


def test_no_face_on_a_large_photograph_says_what_was_searched(call, folder, tmp_path, monkeypatch):
    class Blind:
        def __call__(self, image):
            return []

        def describe(self, width, height):
            return f'searched {width} x {height}'

    monkeypatch.setattr(restorer, 'make_detector', lambda *_: Blind())
    _, out, _ = call(save(folder / 'a.png', np.zeros((1000, 1002, 3), np.uint8)), '-o', tmp_path / 'out')
    assert 'no face (searched 1002 x 1000), copied as it is' in out


def test_a_turned_face_is_told(call, folder, tmp_path, monkeypatch):
    turned = [face.moved(np.array([[0.0, -1, 239], [1, 0, 0]])) for face in stand_in(None)]
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: lambda image: turned)
    source = save(folder / 'a.png', np.ascontiguousarray(photograph().swapaxes(0, 1)))
    _, out, _ = call(source, '-o', tmp_path / 'out')
    assert '; some lie turned by 90 degrees' in out


def test_jpeg_stays_jpeg_when_asked(call, folder, tmp_path):
    save(folder / 'a.jpg')
    call(folder, '-o', tmp_path / 'out', '--format', 'same')
    assert Image.open(tmp_path / 'out' / 'a.jpg').format == 'JPEG'


def test_equal_names_do_not_collide(call, folder, tmp_path):
    save(folder / 'a.png')
    save(folder / 'a.jpg')
    save(tmp_path / 'other' / 'a.png')
    call(folder, tmp_path / 'other' / 'a.png', '-o', tmp_path / 'out')
    assert files_below(tmp_path / 'out') == ['a.png', 'a_2.png', 'a_3.png']


def test_report_can_be_edited_and_given_back(call, folder, tmp_path):
    source = save(folder / 'a.png')
    call(folder, '-o', tmp_path / 'out', '--json')
    report = json.loads((tmp_path / 'out' / 'faces.json').read_text())
    assert len(report['photos'][0]['faces']) == 3
    report['photos'][0]['faces'][0]['restore'] = False
    (tmp_path / 'edited.json').write_text(json.dumps(report))
    _, out, _ = call(source, '-o', tmp_path / 'again', '--faces', tmp_path / 'edited.json')
    assert '2 left alone: left alone by the faces file' in out


def test_edited_report_is_kept(call, folder, tmp_path):
    source, report = save(folder / 'a.png'), tmp_path / 'out' / 'faces.json'
    call(source, '-o', tmp_path / 'out', '--json')
    edited = report.read_text().replace('true', 'false', 1)
    report.write_text(edited)
    _, out, _ = call(source, '-o', tmp_path / 'out', '--json', '--faces', report)
    kept = tmp_path / 'out' / 'faces_1.json'
    assert kept.read_text() == edited
    assert json.loads(report.read_text())['photos'][0]['faces'][0]['restore'] is False
    assert out.splitlines()[-1] == f'report: {report} (the one before is kept as {kept})'


def test_equal_report_gets_no_number(call, folder, tmp_path):
    save(folder / 'a.png')
    for _ in range(2):
        call(folder, '-o', tmp_path / 'out', '--json')
    assert files_below(tmp_path / 'out') == ['a.png', 'faces.json']


def test_interrupted_run_reports_what_it_did(call, folder, tmp_path, monkeypatch):
    save(folder / 'a.png')
    save(folder / 'b.png')
    run_network = restorer.Restorer.run_network

    def interrupted(self, crops):
        if (tmp_path / 'out').exists():
            raise KeyboardInterrupt
        restored = run_network(self, crops)
        (tmp_path / 'out').mkdir()
        return restored

    monkeypatch.setattr(restorer.Restorer, 'run_network', interrupted)
    assert call(folder, '-o', tmp_path / 'out', '--json', '--batch', 1)[0] == 130
    report = json.loads((tmp_path / 'out' / 'faces.json').read_text())
    assert [photo['output'] for photo in report['photos']] == [str(tmp_path / 'out' / 'a.png')]


def test_name_that_is_not_utf_8_is_restored_told_and_reported(call, folder, tmp_path):
    source = save(folder / os.fsdecode(b'\xff.png'))
    status, out, _ = call(folder, '-o', tmp_path / 'out', '--json')
    assert status == 0
    assert f'{folder}/\\udcff.png: 2 of 3' in out
    assert json.loads((tmp_path / 'out' / 'faces.json').read_text())['photos'][0]['file'] == str(source)


def test_name_as_long_as_can_be_is_restored(call, folder, tmp_path):
    save(folder / f'{"a" * 251}.png')
    assert call(folder, '-o', tmp_path / 'out')[0] == 0
    assert files_below(tmp_path / 'out') == [f'{"a" * 251}.png']


def test_sheet_shows_every_restored_face(call, folder, tmp_path):
    save(folder / 'a.png')
    call(folder, '-o', tmp_path / 'out', '--sheet')
    assert Image.open(tmp_path / 'out' / 'a_sheet.jpg').height > 240 + 192


def test_sheets_of_equal_names_do_not_collide(call, folder, tmp_path):
    save(folder / 'a.bmp')
    save(folder / 'a.png')
    call(folder, '-o', tmp_path / 'out', '--sheet')
    assert files_below(tmp_path / 'out') == ['a.bmp', 'a.png', 'a_sheet.jpg', 'a_sheet_2.jpg']


def test_weights_by_the_name_of_a_converted_release(call, weights, folder, tmp_path, monkeypatch):
    monkeypatch.setenv('MMRBGAN_HOME', str(tmp_path / 'home'))
    source = save(folder / 'a.png')
    go = [source, '-o', tmp_path / 'out', '--weights', 'gpen-bfr-256']
    status, _, err = call(*go, own_weights=False)
    assert status == 2
    assert 'mmrbgan weights get gpen-bfr-256' in err
    cached = tmp_path / 'home' / 'weights' / 'gpen-bfr-256' / 'net_g.pth'
    cached.parent.mkdir(parents=True)
    torch.save({'params_ema': load_file(weights)}, cached)
    status, out, _ = call(*go, own_weights=False)
    assert status == 0
    assert str(cached) in out and '2 of 3 faces restored' in out


@pytest.mark.parametrize('argument', ['all', 'largest', 'center'])
def test_words_for_faces(call, folder, tmp_path, argument):
    save(folder / 'a.png')
    assert call(folder, '-o', tmp_path / 'out', '--faces', argument)[0] == 0


def test_nothing_named_is_explained(call):
    status, _, err = call()
    assert status == 2
    assert '--demo' in err


def bomb():
    stream = io.BytesIO()
    Image.fromarray(photograph()).save(stream, 'PNG')
    content = bytearray(stream.getvalue())
    content[16:24] = struct.pack('>II', 50000, 50000)
    content[29:33] = struct.pack('>I', zlib.crc32(bytes(content[12:29])))
    return bytes(content)


def damaged(rng, content):
    """Cut, flip, overwrite or swap a part of a file."""
    content, kind = bytearray(content), rng.integers(5)
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 400))
    if kind == 0:
        return bytes(content[:place])
    if kind == 1:
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == 2:
        content[place : place + length] = bytes(length)
    elif kind == 3:
        content[place : place + length] = rng.bytes(length)
    else:
        del content[place : place + length]
    return bytes(content)


def damaged_files(folder, count=300):
    rng = np.random.default_rng(0)
    image = photograph()[:64, :80]
    whole = []
    for suffix, options in (('png', {}), ('jpg', {}), ('webp', {}), ('tif', {}), ('bmp', {}), ('gif', {})):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, {'jpg': 'JPEG', 'tif': 'TIFF'}.get(suffix, suffix.upper()), **options)
        whole.append((suffix, stream.getvalue()))
    for number in range(count):
        suffix, content = whole[number % len(whole)]
        (folder / f'{number:03d}.{suffix}').write_bytes(damaged(rng, content))


def test_300_damaged_files_end_in_a_line_each(call, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: lambda image: [])
    damaged_files(folder)
    save(folder / 'whole.png')
    before = files_below(tmp_path)
    status, out, err = call(folder, '-o', tmp_path / 'out')
    told = [line for line in (out + err).splitlines() if str(folder) in line and not line.startswith('warning: ')]
    failed = [line for line in told if line.startswith('failed: ')]
    assert status == 1
    assert len(told) == 301
    assert 100 < len(failed) < 300
    assert f'{len(failed)} of 301 failed' in err
    assert len(files_below(tmp_path / 'out')) == 301 - len(failed)
    assert (tmp_path / 'out' / 'whole.png').exists()
    assert all(re.fullmatch(r'failed: \S+\.\w+: \S.{4,}', line) for line in failed)
    assert [name for name in files_below(tmp_path) if not name.startswith('out/')] == before


def hostile_pictures(folder):
    """Name -> what its line must say; None where it is no more than odd, and is restored or copied."""
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'bomb.png').write_bytes(bomb())
    (folder / 'text.jpg').write_text('<?php echo 1 ?>')
    (folder / 'zeros.png').write_bytes(bytes(10000))
    (folder / 'pickle.png').write_bytes(pickle.dumps({'a': 1}))
    (folder / 'zip.webp').write_bytes(b'PK\3\4' + bytes(100))
    (folder / 'svg.png').write_text('<svg xmlns="http://www.w3.org/2000/svg"><image href="/etc/passwd"/></svg>')
    (folder / 'dangling.png').symlink_to(folder / 'nowhere')
    (folder / 'self.png').symlink_to(folder / 'self.png')
    (folder / 'device.png').symlink_to('/dev/zero')
    os.mkfifo(folder / 'pipe.png')
    frames = [Image.fromarray(photograph() // k) for k in (1, 2)]
    frames[0].save(folder / 'moving.gif', save_all=True, append_images=frames[1:])
    return {
        'empty.png': 'empty file', 'bomb.png': 'too large', 'text.jpg': 'not an image', 'zeros.png': 'not an image',
        'pickle.png': 'not an image', 'zip.webp': 'not an image', 'svg.png': 'not an image',
        'dangling.png': 'No such file', 'self.png': 'symbolic links', 'device.png': 'not a file',
        'pipe.png': 'not a file', 'moving.gif': 'animated',
    }  # fmt: skip


def test_hostile_pictures_end_in_a_clear_line_each(call, folder, tmp_path):
    expected = hostile_pictures(folder)
    before = files_below(tmp_path)
    status, _, err = call(folder, '-o', tmp_path / 'out')
    assert status == 1
    for name, reason in expected.items():
        lines = [line for line in err.splitlines() if f'/{name}' in line]
        assert len(lines) == 1, name
        assert reason in lines[0], name
    assert files_below(tmp_path) == before


def test_links_in_a_circle_are_walked_once(call, folder, tmp_path):
    save(folder / 'a.png')
    (folder / 'loop').symlink_to(folder)
    (folder / 'sub').mkdir()
    (folder / 'sub' / 'up').symlink_to('..')
    assert call(folder, '-o', tmp_path / 'out')[0] == 0
    assert files_below(tmp_path / 'out') == ['a.png']


def test_folder_in_out_that_leads_elsewhere_is_not_written_through(call, folder, tmp_path):
    save(folder / 'sub' / 'a.png')
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'sub').symlink_to(tmp_path / 'elsewhere')
    status, _, err = call(folder, '-o', tmp_path / 'out')
    assert status == 1
    assert 'leaves' in err
    assert files_below(tmp_path / 'elsewhere') == []


def test_link_in_out_is_replaced_not_followed(call, folder, tmp_path):
    save(folder / 'a.png')
    (tmp_path / 'precious').write_text('precious')
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'a.png').symlink_to(tmp_path / 'precious')
    assert call(folder, '-o', tmp_path / 'out')[0] == 0
    assert (tmp_path / 'precious').read_text() == 'precious'
    assert not (tmp_path / 'out' / 'a.png').is_symlink()


@pytest.mark.parametrize('file_format', ['auto', 'same'])
def test_folder_restored_into_itself_knows_its_results(call, folder, file_format):
    sources = [save(folder / 'a.png'), save(folder / 'sub' / 'b.jpg')]
    contents = [source.read_bytes() for source in sources]
    for run in range(3):
        status, out, err = call(folder, '-o', folder, '--sheet', '--format', file_format)
        assert (status, err) == (0, '')
        assert ('4 files skipped: 4 result of an earlier run' in out) is (run > 0)
    second = 'sub/b_2.jpg' if file_format == 'same' else 'sub/b.png'
    sheet = second.replace('.png', '_sheet.jpg').replace('_2.jpg', '_2_sheet.jpg')
    expected = ['a.png', 'a_2.png', 'a_2_sheet.jpg', 'sub/b.jpg', second, sheet]
    assert files_below(folder) == sorted(expected)
    assert [source.read_bytes() for source in sources] == contents


@pytest.mark.parametrize('nesting', ['below', 'above', 'link', 'another below'])
def test_results_are_no_photographs_whatever_the_nesting(call, folder, tmp_path, nesting):
    save(folder / 'in' / 'a.jpg')
    source = folder if nesting in ('below', 'another below') else folder / 'in'
    outputs = {'below': 'out', 'above': '.', 'link': 'link', 'another below': 'out'}
    (folder / 'link').symlink_to(folder / 'in')
    for run in range(2):
        name = 'out2' if nesting == 'another below' and run else outputs[nesting]
        status, out, err = call(source, '-o', folder / name, '--sheet')
        assert (status, err) == (0, '')
        assert out.count('faces restored') == 1


def test_results_that_are_named_are_restored_again(call, folder, tmp_path):
    save(folder / 'a.png')
    call(folder, '-o', tmp_path / 'one')
    status, out, _ = call(tmp_path / 'one', '-o', tmp_path / 'two')
    assert status == 0 and '2 of 3 faces restored' in out


def test_nothing_but_a_result_is_overwritten(call, folder, tmp_path):
    save(folder / 'a.jpg')
    mine = save(tmp_path / 'out' / 'a.png')
    content = mine.read_bytes()
    for _ in range(2):
        assert call(folder, '-o', tmp_path / 'out')[0] == 0
    assert mine.read_bytes() == content and files_below(tmp_path / 'out') == ['a.png', 'a_2.png']
    (tmp_path / 'out' / 'a_2.png').write_bytes(b'retouched by hand')
    call(folder, '-o', tmp_path / 'out')
    assert files_below(tmp_path / 'out') == ['a.png', 'a_2.png', 'a_3.png']
    assert (tmp_path / 'out' / 'a_2.png').read_bytes() == b'retouched by hand'


def test_a_damaged_list_of_results_does_no_harm(call, folder, tmp_path):
    source = save(folder / 'a.png')
    marker = folder / 'old' / MARKER
    marker.parent.mkdir()
    marker.write_bytes(b'\xff\n' + b'[' * 100_000 + b'\n["../a.png", 1]\n["../a.png", "x"]\n{}\n[1, 2]\nnull\n')
    status, out, _ = call(folder, '-o', tmp_path / 'out')
    assert status == 0 and f'{source}: 2 of 3 faces restored' in out


OTHER_KINDS = {
    'a.jp2': 'JPEG2000', 'b.tga': 'TGA', 'c.pgm': 'PPM', 'd.jpe': 'JPEG', 'e.ico': 'ICO', 'f.pcx': 'PCX',
    'g.dds': 'DDS', 'h.sgi': 'SGI', 'without suffix': 'JPEG', 'wrong.txt': 'PNG', 'i.qoi': 'QOI', 'j.tmp': 'TIFF',
}  # fmt: skip
NO_PHOTOGRAPHS = {
    'a.pdf': b'%PDF-1.4', 'b.mp3': bytes(64), 'notes': b'text', 'c.NEF': b'II*\0', '.hidden.jpg': b'', 'd.eps': b'%!PS',
    'random.bin': bytes([10, 5, 1, 8, *range(250)]), 'e.html': b'<html>',
}  # fmt: skip


def test_what_is_read_is_taken_and_the_rest_is_counted(call, folder, tmp_path):
    for name, kind in OTHER_KINDS.items():
        image = photograph()[:240, :240] if kind == 'ICO' else photograph()
        save(folder / name, image, format=kind)
    for name, content in NO_PHOTOGRAPHS.items():
        (folder / name).write_bytes(content)
    os.mkfifo(folder / 'pipe')
    status, out, err = call(folder, '-o', tmp_path / 'out', '--json')
    assert (status, err) == (0, '')
    assert out.count('restored') == len(OTHER_KINDS)
    kinds = '1 .bin, 1 .eps, 1 .html, 1 .mp3, 1 .nef, 1 .pdf, 1 hidden'
    assert f'9 files skipped: 2 without suffix, {kinds}' in out.splitlines()
    report = json.loads((tmp_path / 'out' / 'faces.json').read_text())
    assert report['skipped']['.pdf'] == 1 and sum(report['skipped'].values()) == 9


def test_folder_without_photographs_says_what_is_in_it(call, folder, tmp_path):
    (folder / 'a.pdf').write_bytes(b'%PDF-1.4')
    status, _, err = call(folder, '-o', tmp_path / 'out')
    assert status == 2 and err == f'error: {folder}: no photograph or film in it (1 file skipped: 1 .pdf)\n'


@pytest.mark.parametrize('letter', ['a', 'ä', '眼'])
def test_sheet_of_a_name_as_long_as_can_be(call, folder, tmp_path, letter):
    name = letter * (251 // len(letter.encode()))
    save(folder / f'{name}.png')
    save(folder / f'{name}.bmp')
    status, _, err = call(folder, '-o', tmp_path / 'out', '--sheet')
    assert (status, err) == (0, '')
    assert len(files_below(tmp_path / 'out')) == 4


def test_a_sheet_that_fails_leaves_the_photograph(call, folder, tmp_path, monkeypatch):
    save(folder / 'a.png')

    def broken(result):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(job, 'before_after_sheet', broken)
    status, out, err = call(folder, '-o', tmp_path / 'out', '--sheet', '--json')
    assert status == 1 and '2 of 3 faces restored' in out
    assert err == f'failed: {tmp_path / "out" / "a_sheet.jpg"}: No space left on device\n'
    assert files_below(tmp_path / 'out') == ['a.png', 'faces.json']


def test_full_disk_is_a_line_each_without_a_name_nobody_knows(call, folder, tmp_path):
    save(folder / 'a.png')
    with full_disk(2000):
        status, _, err = call(folder, '-o', tmp_path / 'out', '--sheet', '--json')
    assert status in (1, 2) and '.part' not in err and f'{tmp_path / "out" / "a.png"}' in err
    assert files_below(tmp_path / 'out') in ([], ['faces.json'])


def test_input_that_is_the_output_is_refused_at_once(call, folder):
    source = save(folder / 'a.png')
    status, out, err = call(source, '-o', source)
    assert (status, out) == (2, '')
    assert 'is an input' in err


def test_results_in_the_album_are_no_inputs(call, folder):
    save(folder / 'a.png')
    for _ in range(2):
        status, _, err = call(folder, '-o', folder / 'restored', '--sheet')
        assert (status, err) == (0, '')
    assert files_below(folder) == ['a.png', 'restored/a.png', 'restored/a_sheet.jpg']


def test_path_with_dots_stays_inside(call, folder, tmp_path):
    save(folder / 'a.png')
    assert call(folder / '..' / 'in' / 'a.png', '-o', tmp_path / 'out')[0] == 0
    assert files_below(tmp_path / 'out') == ['a.png']


class Evil:
    def __reduce__(self):
        return os.mkdir, ('was_executed',)


def hostile_arguments(tmp_path, source):
    """Calls that can never begin -> what their line must say."""
    (tmp_path / 'evil.pth').write_bytes(pickle.dumps(Evil()))
    torch.save({'params': Evil()}, tmp_path / 'evil2.pth')
    torch.save({'a': torch.zeros(1)}, tmp_path / 'other.pth')
    (tmp_path / 'cut.safetensors').write_bytes(b'\xff' * 20)
    (tmp_path / 'deep.json').write_text('[' * 100000)
    (tmp_path / 'list.json').write_text('[1, 2]')
    (tmp_path / 'file').write_text('')
    (tmp_path / 'none').mkdir()
    go = [source, '-o', tmp_path / 'out']
    return [
        ([*go, '--weights', tmp_path / 'evil.pth'], 'nothing was executed'),
        ([*go, '--weights', tmp_path / 'evil2.pth'], 'nothing was executed'),
        ([*go, '--weights', tmp_path / 'other.pth'], 'none of the networks'),
        ([*go, '--weights', tmp_path / 'cut.safetensors'], 'damaged'),
        ([*go, '--weights', 'nowhere.pth'], 'no such file'),
        ([*go, '--faces', tmp_path / 'deep.json'], 'not a report'),
        ([*go, '--faces', tmp_path / 'list.json'], 'not a report'),
        ([*go, '--faces', 'nowhere.json'], '--faces'),
        ([*go, '--scale', '-1'], '--scale'),
        ([*go, '--strength', 'nan'], '--strength'),
        ([*go, '--batch', '0'], '--batch'),
        ([*go, '--device', 'toaster'], '--device'),
        ([*go, '--mask', 'square'], '--mask'),
        (['nowhere.png', '-o', tmp_path / 'out'], 'no such file or folder'),
        ([tmp_path / 'none', '-o', tmp_path / 'out'], 'no photograph'),
    ]


@pytest.mark.parametrize('number', range(15))
def test_hostile_arguments_end_in_one_line(call, folder, tmp_path, number):
    arguments, reason = hostile_arguments(tmp_path, save(folder / 'a.png'))[number]
    before = files_below(tmp_path)
    status, _, err = call(*arguments, own_weights='--weights' not in map(str, arguments))
    assert status == 2
    assert reason in err
    assert len(err.strip().splitlines()) == 1
    assert files_below(tmp_path) == before
    assert not Path('was_executed').exists()


def test_out_that_cannot_be_made_is_told_and_no_traceback(call, folder):
    status, _, err = call(save(folder / 'a.png'), '-o', '/proc/nowhere/out', '--json')
    assert status == 2
    assert 'failed: ' in err
    assert err.splitlines()[-1].startswith('error: /proc/nowhere/out/faces.json: ')


def test_out_that_is_a_file_is_one_line(call, folder, tmp_path):
    (tmp_path / 'file').write_text('')
    status, _, err = call(save(folder / 'a.png'), '-o', tmp_path / 'file')
    assert status == 2
    assert 'is a file; name a folder' in err


def test_summary_names_scores(call, folder, tmp_path, monkeypatch):
    def similarity(restored, crop):
        return np.full(len(crop), 0.5)

    monkeypatch.setattr(restorer, 'load_similarity', lambda *_: similarity)
    save(folder / 'a.png')
    _, out, _ = call(folder, '-o', tmp_path / 'out', '--identity')
    assert 'least similarity 0.50, least strength 1.00' in out


def test_help_says_that_scores_are_weak_evidence(capsys):
    with pytest.raises(SystemExit):
        cli.main(['restore', '--help'])
    assert 'weak evidence' in ' '.join(capsys.readouterr().out.split())


def test_demo_takes_no_photographs(call, tmp_path):
    status, _, err = call('--demo', 'photo.jpg', '-o', tmp_path / 'demo')
    assert status != 0
    assert 'leave photo.jpg out' in err


def test_demo_measures_the_face(call, tmp_path, monkeypatch):
    pytest.importorskip('skimage')
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    status, out, _ = call('--demo', '-o', tmp_path / 'demo', '--detector', 'dlib', '--strength', '0')
    assert status == 0
    assert '(+0.00 dB)' in out
    assert files_below(tmp_path / 'demo') == ['before_after.png', 'degraded.png', 'original.png', 'restored.png']
