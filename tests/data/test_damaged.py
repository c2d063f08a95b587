"""Five hundred damaged or odd files go through `prepare` and the datasets; each is handled, or listed with a reason."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from mmrbgan.cli import main
from mmrbgan_data.components import write_landmarks
from mmrbgan_data.datasets.degradation_dataset import MMRBGANDegradationDataset
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_data.drawn.drawing import draw_face
from mmrbgan_data.images import list_images

SIZE, COPIES = 64, 25
PLACES = ('', "it's a ", 'two  spaces ', '中文 한국어 ', 'é"quoted" ', '#%&')


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rotated(face):
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(face.rotate(90, expand=True), 'JPEG', exif=exif)


def damaged(content, rng):
    """Overwrite a stretch in the middle of a file."""
    middle = len(content) // 2
    return content[:middle] + rng.bytes(40) + content[middle + 40 :]


def sixteen_bits(face):
    return saved(Image.fromarray(np.asarray(face.convert('L')).astype(np.uint16) * 257), 'PNG')


# kind -> (bytes from the face and a generator, suffix, whether it is a sound picture of the face)
KINDS = {
    'plain': (lambda face, _: saved(face, 'PNG'), '.png', True),
    'jpeg': (lambda face, _: saved(face, 'JPEG'), '.JPG', True),
    'grey': (lambda face, _: saved(face.convert('L'), 'PNG'), '.png', True),
    'palette': (lambda face, _: saved(face.convert('P'), 'PNG'), '.png', True),
    'alpha': (lambda face, _: saved(face.convert('RGBA'), 'PNG'), '.png', True),
    'cmyk': (lambda face, _: saved(face.convert('CMYK'), 'JPEG'), '.jpg', True),
    '16 bit': (lambda face, _: sixteen_bits(face), '.png', True),
    'rotated': (lambda face, _: rotated(face), '.jpg', True),
    'webp': (lambda face, _: saved(face, 'WEBP'), '.webp', True),
    'tiff': (lambda face, _: saved(face, 'TIFF'), '.tif', True),
    'gif': (lambda face, _: saved(face, 'GIF'), '.gif', True),
    'wrong suffix': (lambda face, _: saved(face, 'JPEG'), '.png', True),
    'half jpeg': (lambda face, rng: saved(face, 'JPEG')[: rng.integers(3, 900)], '.jpg', False),
    'half png': (lambda face, rng: saved(face, 'PNG')[: rng.integers(9, 4000)], '.png', False),
    'empty': (lambda *_: b'', '.png', False),
    'text': (lambda *_: b'This is a text file.\n' * 9, '.png', False),
    'noise': (lambda _, rng: rng.bytes(500), '.jpg', False),
    'bad middle': (lambda face, rng: damaged(saved(face, 'PNG'), rng), '.png', False),
    '1x1': (lambda *_: saved(Image.new('RGB', (1, 1)), 'PNG'), '.png', False),
    'wide': (lambda *_: saved(Image.new('RGB', (20000, 30)), 'PNG'), '.png', False),
}


@pytest.fixture(scope='module')
def zoo(tmp_path_factory):
    """Return a folder of 500 files, and kind by file name."""
    folder = tmp_path_factory.mktemp('zoo') / 'photos'
    folder.mkdir()
    kinds, landmarks = {}, {}
    for number in range(COPIES):
        rng = np.random.default_rng(number)
        image, points = draw_face(rng, SIZE)
        for kind, (make, suffix, _) in KINDS.items():
            name = f'{PLACES[number % len(PLACES)]}{kind} {number}{suffix}'
            (folder / name).write_bytes(make(Image.fromarray(image), rng))
            kinds[name], landmarks[name] = kind, points
    write_landmarks(folder.parent / 'landmarks.csv', landmarks)
    assert len(kinds) == 500
    return folder, kinds


def sound(kind):
    return KINDS[kind][2]


def test_prepare_keeps_or_lists_every_file(zoo, tmp_path):
    folder, kinds = zoo
    arguments = [
        '--landmarks',
        str(folder.parent / 'landmarks.csv'),
        '--size',
        '256',
        '--min-face',
        '1',
        '--workers',
        '1',
    ]
    assert main(['prepare', str(folder), '-o', str(tmp_path / 'out'), '--min-sharpness', '0', *arguments]) == 0
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    reasons = {item['photo']: item['reason'] for item in report['skipped_files']}
    kept = sum(report['faces'].values())
    assert report['photographs'] == 500 and kept + len(reasons) == 500
    for name, kind in kinds.items():
        if sound(kind):  # many pictures of one face: the first stays, the others are its duplicates
            assert reasons.get(name) in (None, 'duplicate'), name
        else:
            assert reasons[name] in ('unreadable', 'cut off', 'blurred', 'no landmarks', 'too small'), name
    assert kept >= COPIES


def test_dlib_meets_every_file(zoo, tmp_path):
    folder, kinds = zoo
    one_each = tmp_path / 'photos'
    one_each.mkdir()
    for name in sorted(kinds)[:: COPIES + 1]:
        (one_each / name).write_bytes((folder / name).read_bytes())
    status = main(['prepare', str(one_each), '-o', str(tmp_path / 'out'), '--workers', '1'])
    report = json.loads((tmp_path / 'out' / 'report.json').read_text())
    assert status in (0, 2) and report['photographs'] == len(list_images(one_each))


def test_training_dataset_replaces_every_bad_file(zoo):
    folder, kinds = zoo
    dataset = MMRBGANDegradationDataset({'dataroot_gt': str(folder), 'image_size': 16, 'max_bad_images': 500})
    taken = {dataset[index]['gt_path'].rsplit('/', 1)[1] for index in range(len(dataset))}
    allowed = {name for name, kind in kinds.items() if sound(kind) or kind == '1x1'}
    assert taken == allowed
    failed = np.flatnonzero(dataset._bad.failed)
    assert {kinds[dataset.gt.names[index]] for index in failed} == {
        kind for kind in KINDS if not sound(kind) and kind != '1x1'
    }


def test_test_dataset_leaves_every_bad_file_out(zoo):
    folder, kinds = zoo
    dataset = MMRBGANTestDataset({'dataroot_lq': str(folder), 'image_size': 16, 'max_bad_images': 500})
    scored = {kinds[path.rsplit('/', 1)[1]] for path in (dataset[i]['lq_path'] for i in range(len(dataset)))}
    assert scored == {kind for kind in KINDS if sound(kind) or kind == '1x1'}
