"""`mmrbgan prepare`: crops, annotations, split, LMDB, resuming, reasons."""

import json
import logging
import os
import shutil
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from component_rows import named
from full_disk import full_disk

from mmrbgan.cli import main
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import five_points, template
from mmrbgan_data.components import COMPONENTS, read_components, read_landmarks, write_landmarks
from mmrbgan_data.datasets.degradation_dataset import MMRBGANDegradationDataset
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import ImageSource, read_image, write_image
from mmrbgan_data.prepare import crop_pool, cropping
from mmrbgan_data.prepare.journal import Journal
from mmrbgan_data.prepare.photographs import find_photographs, read_ffhq, split_of, unique_stems

SIZE = 256


@pytest.fixture(scope='module')
def drawn():
    """Six drawn faces of 256 px with their landmarks."""
    return [draw_face(np.random.default_rng([5, number]), SIZE) for number in range(6)]


@pytest.fixture
def photos(tmp_path, drawn):
    """A folder of photographs with landmarks.csv beside it."""
    folder = tmp_path / 'photos'
    (folder / 'sub').mkdir(parents=True)
    names = ['a.png', 'b.c.png', 'sub/d.png', 'é 眼 "q".png', 'f.png', 'g.png']
    for name, (image, _) in zip(names, drawn, strict=True):
        write_image(folder / name, image)
    write_landmarks(tmp_path / 'landmarks.csv', {name: points for name, (_, points) in zip(names, drawn, strict=True)})
    return folder


def prepare(photos, *more, status=0):
    out = photos.parent / 'out'
    arguments = ['--landmarks', str(photos.parent / 'landmarks.csv'), '--size', '256', '--workers', '1']
    assert main(['prepare', str(photos), '-o', str(out), *arguments, '--val-share', '0.3', *more]) == status
    return out


def report(out):
    return json.loads((out / 'report.json').read_text())


def kept_names(out, splits=('train', 'val')):
    return sorted(name for split in splits for name in ImageSource(out / split).names)


def test_crops_are_aligned_and_annotated(photos, drawn):
    out = prepare(photos)
    assert kept_names(out) == sorted(['a_0.png', 'b.c_0.png', 'sub/d_0.png', 'é 眼 "q"_0.png', 'f_0.png', 'g_0.png'])
    for split in ('train', 'val'):
        source, landmarks = ImageSource(out / split), read_landmarks(out / split / 'landmarks.csv')
        assert set(landmarks) == set(source.names)
        table = read_components(out / split / 'components.json')
        for index, name in enumerate(source.names):
            assert source.read(index).shape == (SIZE, SIZE, 3)
            assert np.abs(five_points(landmarks[name]) - template(SIZE)).mean() < 12
            assert table.boxes(name, SIZE, SIZE)[1].all()
    assert (out / 'contact_sheet_train.jpg').is_file() and (out / 'contact_sheet_val.jpg').is_file()
    assert sum(report(out)['faces'].values()) == 6


def test_result_is_a_training_set(photos):
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(prepare(photos) / 'train'), 'image_size': 64})
    assert all(dataset[index]['component_mask'].all() for index in range(len(dataset)))


def test_lmdb_holds_what_the_folders_hold(photos, tmp_path):
    folders = prepare(photos)
    shutil.move(folders, tmp_path / 'folders')
    lmdbs = prepare(photos, '--lmdb')
    assert not (lmdbs / '.crops').exists()
    for split in ('train', 'val'):
        one, other = ImageSource(tmp_path / 'folders' / split), ImageSource(lmdbs / f'{split}.lmdb')
        assert sorted(other.names) == one.names
        for index, name in enumerate(one.names):
            assert one.read_bytes(index) == other.read_bytes(other.names.index(name))
        same = [root / 'components.json' for root in (one.root, other.root)]
        assert same[0].read_text() == same[1].read_text()


def test_lmdb_and_folder_give_the_same_samples(photos, tmp_path):
    shutil.move(prepare(photos), tmp_path / 'folders')
    lmdb = MMRBGANDegradationDataset({'dataroot_gt': str(prepare(photos, '--lmdb') / 'train.lmdb'), 'image_size': 64})
    disk = MMRBGANDegradationDataset({'dataroot_gt': str(tmp_path / 'folders' / 'train'), 'image_size': 64})
    for index, name in enumerate(disk.gt.names):
        one = disk._load(index, False)
        other = lmdb._load(lmdb.gt.names.index(name), False)
        assert all((a == b).all() for a, b in zip(one, other, strict=True))


def test_two_processes_give_what_one_gives(photos, tmp_path):
    shutil.move(prepare(photos), tmp_path / 'one')
    two = prepare(photos, '--workers', '2')
    for name in ('report.json', 'train/components.json', 'val/landmarks.csv'):
        assert (two / name).read_bytes() == (tmp_path / 'one' / name).read_bytes()


def test_stopped_run_goes_on(photos, monkeypatch, tmp_path):
    whole = prepare(photos)
    shutil.move(whole, tmp_path / 'whole')
    crop, done = crop_pool.crop_photograph, []

    def stop(path, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(path)
        return crop(path, *rest)

    monkeypatch.setattr(crop_pool, 'crop_photograph', stop)
    out = prepare(photos, status=130)
    (out / 'progress.jsonl').write_bytes((out / 'progress.jsonl').read_bytes() + b'{"photo": "cut sho')
    done.clear()
    monkeypatch.setattr(crop_pool, 'crop_photograph', lambda *args: done.append(args[0]) or crop(*args))
    prepare(photos)
    assert len(done) == 3
    assert (out / 'train/components.json').read_text() == (tmp_path / 'whole/train/components.json').read_text()


def test_second_run_has_nothing_to_do(photos, monkeypatch):
    out = prepare(photos, '--lmdb')
    before = (out / 'train.lmdb' / 'data.mdb').stat().st_mtime_ns
    monkeypatch.setattr(crop_pool, 'crop_photograph', None)
    prepare(photos, '--lmdb')
    assert (out / 'train.lmdb' / 'data.mdb').stat().st_mtime_ns == before


DAMAGE = {
    'leaves the folder': ('"a_0.png"', '"../../victim.png"'),
    'an absolute name': ('"a_0.png"', '"{tmp}/victim.png"'),
    'another split': ('"split": "train"', '"split": "../.."'),
    'no landmarks': ('"landmarks": [[', '"landmarks": [['.replace('[[', '[["x", 1], [')),
    'a list': ('{"photo"', '[{"photo"'),
    'too deep': ('{"photo": "a.png"', '{"photo": ' + '[' * 100_000),
    'cut in the middle': ('"fingerprint": ', ''),
}


@pytest.mark.parametrize('kind', DAMAGE)
def test_damaged_progress_is_one_line_and_deletes_nothing(photos, kind, capsys):
    out = prepare(photos)
    victim = photos.parent / 'victim.png'
    victim.write_bytes(b'mine')
    journal, (old, new) = out / 'progress.jsonl', DAMAGE[kind]
    text = journal.read_text()
    if kind == 'another split':
        text = text.replace('"file": "a_0.png"', '"file": "victim.png"')
    assert old in text
    journal.write_text(text.replace(old, new.replace('{tmp}', str(photos.parent))))
    (photos / 'a.png').unlink()  # so that its crops are to go
    capsys.readouterr()
    prepare(photos, status=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert f'{journal}: line ' in error and 'is damaged' in error
    assert victim.read_bytes() == b'mine'


def test_no_link_inside_leads_the_removal_out(photos, tmp_path):
    out = prepare(photos)
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'elsewhere' / 'd_0.png').write_bytes(b'mine')
    split = 'train' if (out / 'train' / 'sub').is_dir() else 'val'
    shutil.rmtree(out / split / 'sub')
    (out / split / 'sub').symlink_to(tmp_path / 'elsewhere')
    (photos / 'sub' / 'd.png').unlink()
    prepare(photos)
    assert (tmp_path / 'elsewhere' / 'd_0.png').read_bytes() == b'mine'


@pytest.mark.parametrize('more', [(), ('--lmdb',)])
def test_full_disk_is_one_line_and_the_next_run_goes_on(photos, more, capsys):
    with full_disk(40_000):
        out = prepare(photos, *more, status=2)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f'error: {out}') and 'cannot be written' in error and 'goes on where it stopped' in error
    assert not list(out.rglob('.mmrbgan*'))
    prepare(photos, *more)


def test_new_and_vanished_photographs_join_and_leave(photos, drawn):
    out = prepare(photos, '--lmdb')
    (photos / 'a.png').unlink()
    write_image(photos / 'new.png', draw_face(np.random.default_rng(99), SIZE)[0])
    landmarks = read_landmarks(photos.parent / 'landmarks.csv')
    write_landmarks(photos.parent / 'landmarks.csv', {**landmarks, 'new.png': drawn[0][1]})
    prepare(photos, '--lmdb')
    names = [name for split in ('train', 'val') for name in ImageSource(out / f'{split}.lmdb').names]
    assert 'new_0.png' in names and 'a_0.png' not in names and len(names) == 6
    for split in ('train', 'val'):
        source = ImageSource(out / f'{split}.lmdb')
        assert all(source.read(index).shape == (SIZE, SIZE, 3) for index in range(len(source)))


def rename(photos, old, new):
    """Move a photograph, whose time stays, and tell landmarks.csv."""
    (photos / new).parent.mkdir(exist_ok=True)
    (photos / old).rename(photos / new)
    landmarks = read_landmarks(photos.parent / 'landmarks.csv')
    write_landmarks(photos.parent / 'landmarks.csv', {**landmarks, new: landmarks[old]})


@pytest.mark.parametrize('bad', [np.nan, np.inf, 1e30])
def test_landmarks_that_are_no_place_are_a_reason(photos, drawn, bad):
    points = drawn[0][1] + np.array([bad * number for number in range(136)], np.float32).reshape(68, 2)
    known = read_landmarks(photos.parent / 'landmarks.csv')
    write_landmarks(photos.parent / 'landmarks.csv', known | {'a.png': points})
    out = prepare(photos)
    assert report(out)['skipped'] == {'no landmarks': 1}


def test_landmarks_saved_by_a_spreadsheet(photos):
    path = photos.parent / 'landmarks.csv'
    path.write_bytes(b'\xef\xbb\xbf' + path.read_bytes())
    assert report(prepare(photos))['skipped'] == {}


def test_the_split_is_the_same_on_every_machine():
    assert [name for name in 'abcdefgh' if split_of(f'{name}.jpg', 0.3) == 'val'] == ['e', 'g', 'h']


def annotated(out, lmdb):
    """Names of the crops that can be read and have boxes."""
    names = []
    for path in out.glob('*.lmdb/components.json' if lmdb else '*/components.json'):
        source, table = ImageSource(path.parent), read_components(path)
        assert len(table) == len(source) and all(source.read(index).any() for index in range(len(source)))
        names += [name for name in source.names if name in table]
    return sorted(names)


def test_an_lmdb_that_was_being_replaced_comes_back(photos):
    out = prepare(photos, '--lmdb')
    content = (out / 'train.lmdb' / 'data.mdb').read_bytes()
    (out / 'train.lmdb').rename(out / '.train.lmdb.old')  # where a kill between two renames leaves it
    prepare(photos, '--lmdb')
    assert (out / 'train.lmdb' / 'data.mdb').read_bytes() == content
    assert not (out / '.train.lmdb.old').exists()


LMDB_OR_NOT = pytest.mark.parametrize('more', [(), ('--lmdb',)], ids=['folders', 'lmdb'])


def test_a_link_to_itself_is_a_reason(photos):
    (photos / 'itself.png').symlink_to('itself.png')
    assert report(prepare(photos))['skipped'] == {'no landmarks': 1}


def test_names_that_no_crop_can_bear_are_reasons(photos):
    content = (photos / 'a.png').read_bytes()
    bad = [os.fsencode(photos) + b'/\xff.png', os.fsencode(photos / ('l' * 251 + '.png'))]
    for path in bad:
        with open(path, 'wb') as file:
            file.write(content)
    for _ in range(2):  # the second time from the journal
        out = prepare(photos)
        assert report(out)['skipped'] == {'unreadable': 2}


@pytest.mark.parametrize('more', [('--val-share', '0.9'), ('--landmarks', 'other.csv')], ids=' '.join)
def test_other_options_are_refused_by_name(photos, capsys, monkeypatch, more):
    prepare(photos)
    monkeypatch.chdir(photos.parent)
    shutil.copy('landmarks.csv', 'other.csv')
    prepare(photos, *more, status=2)
    assert f'was made with {more[0][2:].replace("-", "_")}' in capsys.readouterr().err


@LMDB_OR_NOT
def test_validation_gets_a_face_where_its_photograph_has_none(photos, more):
    known = read_landmarks(photos.parent / 'landmarks.csv')
    splits = {photo.name: photo.split for photo in find_photographs(photos, None, 0.3)}
    kept = {name: points for name, points in known.items() if splits[name] == 'train'}
    assert 1 < len(kept) < len(known)
    write_landmarks(photos.parent / 'landmarks.csv', kept)
    for _ in range(2):
        out = prepare(photos, *more)
        assert report(out)['faces'] == {'train': len(kept) - 1, 'val': 1}
        val = ImageSource(out / ('val.lmdb' if more else 'val'))
        train = ImageSource(out / ('train.lmdb' if more else 'train'))
        assert len(val.names) == 1 and val.names[0] not in train.names


@LMDB_OR_NOT
def test_crops_that_somebody_removed_are_made_again(photos, more):
    out = prepare(photos, *more)
    before = annotated(out, bool(more))
    if more:
        shutil.rmtree(out / 'train.lmdb')
    else:
        (out / 'train' / 'a_0.png').unlink(missing_ok=True)
        shutil.rmtree(out / 'val')
    prepare(photos, *more)
    assert annotated(out, bool(more)) == before
    splits = ('train.lmdb', 'val.lmdb') if more else ('train', 'val')
    assert sum(len(ImageSource(out / split).names) for split in splits) == 6


@LMDB_OR_NOT
@pytest.mark.parametrize('new', ['moved/a.png', 'a.bmp'])
def test_moved_photograph_is_no_duplicate_of_itself(photos, new, more):
    before = annotated(prepare(photos, *more), more)
    rename(photos, 'a.png', new)
    out = prepare(photos, *more)
    assert annotated(out, more) == sorted({*before} - {'a_0.png'} | {new.rsplit('.')[0] + '_0.png'})
    assert report(out)['skipped_files'] == []


@LMDB_OR_NOT
def test_photograph_that_left_and_returned_is_back(photos, more):
    before = annotated(prepare(photos, *more), more)
    (photos / 'a.png').rename(photos.parent / 'a.png')
    assert 'a_0.png' not in annotated(prepare(photos, *more), more)
    (photos.parent / 'a.png').rename(photos / 'a.png')
    assert annotated(prepare(photos, *more), more) == before


@LMDB_OR_NOT
def test_photograph_that_returns_after_a_stop_is_back(photos, monkeypatch, more):
    before = annotated(prepare(photos, *more), more)
    (photos / 'a.png').rename(photos.parent / 'a.png')
    with monkeypatch.context() as patch:  # its crop is removed, its entry is not
        patch.setattr(Journal, 'drop', Mock(side_effect=KeyboardInterrupt))
        prepare(photos, *more, status=130)
    (photos.parent / 'a.png').rename(photos / 'a.png')
    assert annotated(prepare(photos, *more), more) == before


def test_stopped_run_goes_on_after_a_move(photos, monkeypatch):
    before = annotated(prepare(photos), ())
    rename(photos, 'a.png', 'moved/a.png')
    with monkeypatch.context() as patch:
        patch.setattr(crop_pool, 'crop_photograph', Mock(side_effect=KeyboardInterrupt))
        prepare(photos, status=130)
    assert annotated(prepare(photos), ()) == sorted([*before[1:], 'moved/a_0.png'])


def add_twin(photos):
    """A copy of a.png, with its landmarks."""
    shutil.copy(photos / 'a.png', photos / 'twin.png')
    landmarks = read_landmarks(photos.parent / 'landmarks.csv')
    write_landmarks(photos.parent / 'landmarks.csv', {**landmarks, 'twin.png': landmarks['a.png']})


def test_duplicates_are_kept_on_request(photos):
    shutil.copy(photos / 'b.c.png', photos / 'twin.png')
    landmarks = read_landmarks(photos.parent / 'landmarks.csv')
    write_landmarks(photos.parent / 'landmarks.csv', {**landmarks, 'twin.png': landmarks['b.c.png']})
    assert 'twin_0.png' not in kept_names(prepare(photos))
    shutil.rmtree(photos.parent / 'out')
    assert {'b.c_0.png', 'twin_0.png'} <= set(kept_names(prepare(photos, '--keep-duplicates')))


def test_duplicate_takes_the_place_of_one_that_is_gone(photos):
    add_twin(photos)
    before = annotated(prepare(photos), ())
    (photos / 'a.png').unlink()
    assert annotated(prepare(photos), ()) == sorted([*before[1:], 'twin_0.png'])


def test_duplicate_takes_the_place_of_one_that_has_changed(photos):
    add_twin(photos)
    before = annotated(prepare(photos), ())
    write_image(photos / 'a.png', draw_face(np.random.default_rng(99), SIZE)[0])
    assert annotated(prepare(photos), ()) == sorted([*before, 'twin_0.png'])


@LMDB_OR_NOT
def test_split_whose_last_photograph_is_gone_is_gone(photos, more):
    prepare(photos, '--val-share', '1e-9', *more)
    found = find_photographs(photos, None, 1e-9)
    last = next(photo.name for photo in found if photo.split == 'train')
    for photo in found:
        if photo.name != last:
            photo.path.unlink()
    out = prepare(photos, '--val-share', '1e-9', *more)
    assert report(out)['faces'] == {'train': 1, 'val': 0}
    assert not (out / ('val.lmdb' if more else 'val/components.json')).exists()


def test_other_settings_are_refused(photos, capsys):
    prepare(photos)
    prepare(photos, '--min-sharpness', '3', status=2)
    assert 'was made with min_sharpness 10' in capsys.readouterr().err


def test_refusals_have_their_reasons(photos, drawn):
    image, points = drawn[1]
    write_image(photos / 'tiny.png', cv2.resize(image, (50, 50), interpolation=cv2.INTER_AREA))
    write_image(photos / 'soft.png', cv2.GaussianBlur(image[:, ::-1], (0, 0), 5))
    write_image(photos / 'twin.jpg', image)
    write_image(photos / 'cut.png', np.roll(image, 150, 1))
    write_image(photos / 'nobody.png', np.zeros((64, 64, 3), np.uint8))
    (photos / 'text.png').write_text('no picture')
    landmarks = read_landmarks(photos.parent / 'landmarks.csv')
    more = {'tiny.png': points * 50 / SIZE, 'twin.jpg': points, 'cut.png': points + [150, 0], 'text.png': points}
    more['soft.png'] = points
    write_landmarks(photos.parent / 'landmarks.csv', {**landmarks, **more})
    out = prepare(photos)
    reasons = {item['photo']: item['reason'] for item in report(out)['skipped_files']}
    assert reasons == {
        'tiny.png': 'too small',
        'soft.png': 'blurred',
        'twin.jpg': 'duplicate',
        'cut.png': 'cut off',
        'nobody.png': 'no landmarks',
        'text.png': 'unreadable',
    }


def test_nothing_usable_is_one_line(photos, capsys):
    prepare(photos, '--min-face', '5000', status=2)
    assert 'no face could be used (skipped: 6 too small)' in capsys.readouterr().err


def test_photograph_that_kills_its_process_is_listed(photos, monkeypatch):
    monkeypatch.setattr(crop_pool, 'ProcessPoolExecutor', _DyingPool)
    out = prepare(photos, '--workers', '2')
    skipped = report(out)['skipped_files']
    assert [(item['photo'], item['reason']) for item in skipped] == [('b.c.png', 'unreadable')]
    assert len(kept_names(out)) == 5


class _DyingPool:
    """Stands in for ProcessPoolExecutor; the process that gets b.c.png dies."""

    def __init__(self, *_, **__):
        self.broken = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, photograph, settings):
        from concurrent.futures import Future
        from concurrent.futures.process import BrokenProcessPool

        future = Future()
        self.broken = self.broken or photograph.name == 'b.c.png'
        if self.broken:
            future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(photograph, settings))
        return future


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'name a folder of PHOTOS'),
        (['gone'], "no folder 'gone'"),
        (['{photos}', '-o', '{photos}/out'], 'lies inside'),
        (['{photos}', '--landmarks', 'gone.csv'], "--landmarks: no file 'gone.csv'"),
        (['{photos}', '--preview', '-o', 'folder'], 'a preview is a picture'),
        (['--set', 'lfw'], '--set lfw needs --root'),
        (['--set', 'lfw', '--root', 'gone'], 'get it from http'),
        (['{photos}', '--detector', 'retinaface', '--detector-weights', 'gone.pth'], 'gone.pth'),
    ],
)
def test_wrong_arguments_are_one_line(photos, monkeypatch, tmp_path, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(['prepare', *[argument.replace('{photos}', str(photos)) for argument in arguments]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_preview_shows_degradations(photos, tmp_path):
    yml = tmp_path / 'o.yml'
    yml.write_text('datasets: {train: {degradation: {noise: [0, 0], jpeg: null}}}')
    assert main(['prepare', str(photos), '--preview', '-o', str(tmp_path / 'sheet.png'), '--opt', str(yml)]) == 0
    assert read_image(tmp_path / 'sheet.png').shape[1] > 6 * 256


def test_help_names_the_landmark_licence(capsys):
    with pytest.raises(SystemExit):
        main(['prepare', '--help'])
    assert 'licensed for research only' in ' '.join(capsys.readouterr().out.split())


def test_split_follows_from_the_name():
    names = [f'{number}.jpg' for number in range(2000)]
    share = sum(split_of(name, 0.1) == 'val' for name in names) / len(names)
    assert 0.07 < share < 0.13


def test_at_least_one_photograph_validates(photos):
    assert [photo.split for photo in find_photographs(photos, None, 1e-9)].count('val') == 1
    assert [photo.split for photo in find_photographs(photos, None, 0)].count('val') == 0


def test_stems_that_meet_keep_their_suffixes():
    assert unique_stems(['a.jpg', 'A.png', 'b.c.png']) == ['a.jpg', 'A.png', 'b.c']


def ffhq_entry(name, split, points):
    part = {'face_landmarks': points.tolist()}
    image = {'file_path': f'images1024x1024/00000/{name}', **part}
    return {'category': split, 'image': image, 'in_the_wild': {'file_path': f'in-the-wild-images/00000/{name}', **part}}


def test_ffhq_list_is_read_with_its_split_and_scale(tmp_path, drawn):
    folder = tmp_path / 'ffhq' / '00000'
    folder.mkdir(parents=True)
    entries = {}
    for number, split in enumerate(('training', 'validation')):
        image, points = drawn[number]
        write_image(folder / f'{number:05d}.png', image)
        entries[str(number)] = ffhq_entry(f'{number:05d}.png', split, points * 4 + 1.5)  # as at 1024 px
    (tmp_path / 'ffhq.json').write_text(json.dumps(entries, indent=1))
    out = tmp_path / 'out'
    arguments = ['--landmarks', str(tmp_path / 'ffhq.json'), '--size', '256', '--workers', '1']
    assert main(['prepare', str(tmp_path / 'ffhq'), '-o', str(out), *arguments]) == 0
    everything = find_photographs(tmp_path / 'ffhq', tmp_path / 'ffhq.json', val_share=0)
    assert {photo.split for photo in everything} == {'train'}  # the paper trains on all 70,000
    assert kept_names(out, ['train']) == ['00000/00000_0.png'] and kept_names(out, ['val']) == ['00000/00001_0.png']
    assert (read_image(out / 'train/00000/00000_0.png') == drawn[0][0]).all()  # aligned already: not warped again
    np.testing.assert_allclose(read_landmarks(out / 'val/landmarks.csv')['00000/00001_0.png'], drawn[1][1], atol=0.02)


def test_ffhq_photographs_in_the_wild_are_aligned_anew(tmp_path, drawn):
    image, points = drawn[0]
    folder = tmp_path / 'in-the-wild-images'
    (folder / '00000').mkdir(parents=True)
    write_image(folder / '00000' / '00000.png', cv2.copyMakeBorder(image, 100, 0, 60, 40, cv2.BORDER_REFLECT_101))
    entry = ffhq_entry('00000.png', 'training', points)
    entry['in_the_wild']['face_landmarks'] = (points + [60, 100]).tolist()
    (tmp_path / 'ffhq.json').write_text(json.dumps({'0': entry}))
    out = tmp_path / 'out'
    arguments = ['--landmarks', str(tmp_path / 'ffhq.json'), '--size', '256', '--workers', '1']
    assert main(['prepare', str(folder), '-o', str(out), *arguments]) == 0
    found = read_landmarks(out / 'train/landmarks.csv')['00000/00000_0.png']
    assert np.abs(five_points(found) - template(256)).max() < 20  # aligned; as they came, they were 100 px off


def test_ffhq_list_is_read_entry_by_entry(tmp_path, drawn):
    entries = {str(number): ffhq_entry(f'{number}.png', 'training', drawn[0][1]) for number in range(3)}
    for indent in (None, 4):
        (tmp_path / 'ffhq.json').write_text(json.dumps(entries, indent=indent))
        keys = [key for key, _, _ in read_ffhq(tmp_path / 'ffhq.json')]
        assert keys == ['0.png', 'in-the-wild/0.png', '1.png', 'in-the-wild/1.png', '2.png', 'in-the-wild/2.png']


def test_five_points_make_boxes_too():
    circles = cropping.circles_of(template(512), 512)
    np.testing.assert_allclose(circles[:2, :2] - 0.5, template(512)[:2], atol=0.01)
    assert all(16 < half < 100 for (_, _, half), row in zip(circles, COMPONENTS, strict=True) if row.five_points)


@pytest.mark.parametrize(('shift', 'count'), [(0, 68), (60, 5)])
def test_landmarks_that_disagree_give_way_to_the_five_points(drawn, monkeypatch, shift, count):
    image, points = drawn[0]
    monkeypatch.setattr(cropping.DlibDetector, 'aligned_landmarks', lambda *_: points + shift)
    refined = cropping._refine(image, five_points(points))
    assert len(refined) == count


def test_component_outside_the_crop_is_left_out():
    points = template(512)
    points[0] = [-30, 200]
    absent = named(np.isnan(cropping.circles_of(points, 512)).all(1))
    assert (absent['left_eye'], absent['right_eye'], absent['mouth']) == (True, False, False)


def test_real_photographs(shared, tmp_path):
    """dlib finds the faces of a whole photograph, and their landmarks are near those that were made by hand."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    annotated = read_landmarks(shared / 'faces' / 'val512' / 'landmarks.csv')
    frontal = sorted(annotated)[:3]
    for name in frontal:
        shutil.copy(shared / 'faces' / 'val512' / name, photos / name)
    out = tmp_path / 'out'
    assert main(['prepare', str(photos), '-o', str(out), '--workers', '1', '--val-share', '0']) == 0
    assert len(ImageSource(out / 'train')) >= 2


def test_damaged_landmark_file_is_one_line(photos):
    (photos.parent / 'landmarks.csv').write_text('a.png,68,0,1,2\n')
    with pytest.raises(UsageError, match=r'landmarks.csv: neither .*line 1'):
        find_photographs(photos, photos.parent / 'landmarks.csv')


def test_dataset_reports_a_crop_that_was_damaged_later(photos, caplog):
    out = prepare(photos)
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(out / 'train'), 'image_size': 64})
    path = out / 'train' / dataset.gt.names[0]
    path.write_bytes(path.read_bytes()[:1000])
    with caplog.at_level(logging.WARNING, 'basicsr'):
        assert dataset[0]['gt_path'] != str(path)
    assert path.name in caplog.text
