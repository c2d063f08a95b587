"""``mmrbgan.Restorer``: anything in, the same picture with restored faces out, and nothing else touched."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_restoring import CENTRES, SIDES, photograph, stand_in, tiny_weights

import mmrbgan
from mmrbgan.gfpganer import GFPGANer
from mmrbgan.restoring.face_choice import FaceFile, read_face_file
from mmrbgan.restoring.files.inputs import as_picture, from_pillow
from mmrbgan.restoring.settings import Settings
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import UnreadableImageError


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return tiny_weights(tmp_path_factory.mktemp('weights'), 64)


@pytest.fixture(scope='module')
def restorer(weights):
    torch.set_num_threads(1)
    return mmrbgan.Restorer(weights, device='cpu', detector=stand_in, mask='ellipse')


@pytest.fixture
def unchanging(restorer, monkeypatch):
    """The same with a network that returns what it is given."""
    monkeypatch.setattr(restorer.network, 'network', torch.nn.Identity())
    return restorer


def test_faces_are_restored_and_the_tiny_one_is_left_alone(restorer):
    result = restorer.restore(photograph())
    assert [face.skipped for face in result.faces][:2] == [None, None]
    assert result.faces[2].skipped.startswith('too small (')
    assert result.changed
    assert result.restored_faces[0].crop.shape == result.restored_faces[0].restored.shape == (64, 64, 3)


def test_pixels_away_from_the_faces_stay(restorer):
    image = photograph()
    changed = (restorer.restore(image).image != image).any(2)
    assert changed[100, 90]
    for (x, y), side in zip(CENTRES[:2], SIDES[:2], strict=True):
        changed[y - side // 2 - 1 : y + side // 2 + 2, x - side // 2 - 1 : x + side // 2 + 2] = False
    assert not changed.any()


def test_same_photograph_gives_the_same_result(restorer):
    first, second = (restorer.restore(photograph()).image for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize('kind', ['array', 'path', 'pillow', 'tensor'])
def test_every_kind_of_input_gives_the_same(restorer, tmp_path, kind):
    image = photograph()
    Image.fromarray(image).save(tmp_path / 'ä ☃.png')
    photo = {
        'array': image,
        'path': tmp_path / 'ä ☃.png',
        'pillow': Image.fromarray(image),
        'tensor': torch.from_numpy(image).permute(2, 0, 1) / 255,
    }[kind]
    np.testing.assert_array_equal(restorer.restore(photo).image, restorer.restore(image).image)


def test_result_turns_into_pillow_and_tensor(restorer):
    result = restorer.restore(photograph())
    np.testing.assert_array_equal(np.asarray(result.to_pil()), result.image)
    np.testing.assert_allclose(result.to_tensor().permute(1, 2, 0).numpy() * 255, result.image, atol=1e-4)


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('channels', [3, 4])
@pytest.mark.parametrize('scale', [1, 2, 4])
def test_unchanging_network_gives_the_enlarged_photograph(unchanging, dtype, channels, scale):
    image = photograph(dtype, channels)
    result = unchanging.restore(image, Settings(scale=scale))
    # float32 carries 16 bits through [0, 1] and [-1, 1] to about one step
    np.testing.assert_allclose(
        result.image,
        np.dstack([result.before.pixels] + [result.before.alpha] * (channels - 3)),
        atol=0 if dtype == np.uint8 else 1,
    )
    assert result.image.shape == (240 * scale, 320 * scale, channels)
    assert result.image.dtype == dtype


def test_alpha_stays(restorer):
    image = photograph(channels=4)
    np.testing.assert_array_equal(restorer.restore(image).image[:, :, 3], image[:, :, 3])


def test_grey_stays_grey(restorer, tmp_path):
    Image.fromarray(photograph()[:, :, 0]).save(tmp_path / 'grey.png')
    result = restorer.restore(tmp_path / 'grey.png')
    result.save(tmp_path / 'out.png')
    assert result.changed
    assert Image.open(tmp_path / 'out.png').mode == 'L'


def test_no_strength_no_change(restorer):
    result = restorer.restore(photograph(), Settings(strength=0))
    assert not result.changed


def test_strength_is_monotonic(restorer):
    image = photograph().astype(int)
    distances = [
        np.abs(restorer.restore(photograph(), Settings(strength=strength)).image - image).sum()
        for strength in (0.25, 0.5, 0.75, 1)
    ]
    assert distances == sorted(distances)
    assert distances[0] > 0


@pytest.mark.parametrize(('faces', 'chosen'), [('all', [0, 1]), ('largest', [0]), ('center', [1])])
def test_choice_of_faces(restorer, faces, chosen):
    found = restorer.restore(photograph(), Settings(faces=faces)).faces
    assert [i for i, face in enumerate(found) if face.skipped is None] == chosen


def test_faces_of_a_file_replace_the_detector(restorer):
    report = restorer.restore(photograph()).to_json()['faces']
    report[0]['restore'] = False
    chosen = FaceFile('edited', {'array': report[:2]})
    result = restorer.restore(photograph(), Settings(faces=chosen))
    assert [face.skipped for face in result.faces] == ['left alone by the faces file', None]


@pytest.mark.parametrize('landmarks', [None, [[1, 2]], [[1e9, 1]] * 5, [['x', 1]] * 5, [[float('nan'), 1]] * 5])
def test_impossible_landmarks_are_refused(restorer, landmarks):
    chosen = FaceFile('edited', {'array': [{'landmarks': landmarks}]})
    with pytest.raises(UsageError, match='landmarks'):
        restorer.restore(photograph(), Settings(faces=chosen))


def test_score_that_is_no_number_is_refused(restorer):
    entry = {'landmarks': stand_in(photograph())[0].landmarks.tolist(), 'score': None}
    with pytest.raises(UsageError, match=r'edited: array: .*"score"'):
        restorer.restore(photograph(), Settings(faces=FaceFile('edited', {'array': [entry]})))


def test_bare_name_of_two_photographs_names_neither(tmp_path):
    photos = [{'file': f'{place}/a.png', 'faces': [{'restore': place == 'x'}]} for place in 'xy']
    (tmp_path / 'faces.json').write_text(json.dumps({'photos': [*photos, {'file': 'x/b.png', 'faces': []}]}))
    chosen = read_face_file(tmp_path / 'faces.json')
    assert set(chosen.photos) == {'x/a.png', 'y/a.png', 'x/b.png', 'b.png'}


def test_photograph_unknown_to_the_file_is_named(restorer):
    with pytest.raises(UsageError, match='array: not in edited'):
        restorer.restore(photograph(), Settings(faces=FaceFile('edited', {})))


def test_aligned_face_is_restored_whole(restorer):
    image = photograph()[:200, :200]
    result = restorer.restore(image, Settings(aligned=True))
    assert result.image.shape == image.shape
    assert (result.image != image).any(2).mean() > 0.9


def test_no_face_no_change(restorer, monkeypatch):
    monkeypatch.setattr(restorer, 'detector', lambda image: [])
    result = restorer.restore(photograph())
    assert (result.faces, result.changed) == ([], False)


def test_colour_stays_unless_it_is_set_free(restorer):
    image = photograph()
    region = np.s_[80:130, 70:110]

    def drift(color):
        after = restorer.restore(image, Settings(color=color)).image
        return abs((after[region].astype(float) - image[region]).mean())

    assert drift('keep') < 2
    assert drift('keep') < drift('free')


def test_identity_guard_lowers_the_strength_until_the_score_is_reached(restorer, monkeypatch):
    def similarity(restored, crop):
        return 1 - np.abs(restored.astype(float) - crop).mean((1, 2, 3)) / 255

    monkeypatch.setattr(restorer, '_similarity', similarity)
    free = restorer.restore(photograph(), Settings(measure_identity=True)).restored_faces[0]
    bound = (1 + free.similarity) / 2
    guarded = restorer.restore(photograph(), Settings(min_identity=bound)).restored_faces[0]
    assert free.strength == 1
    assert free.similarity < bound <= guarded.similarity
    assert 0 < guarded.strength < 1


@pytest.mark.parametrize('color', ['keep', 'free'])
def test_similarity_is_that_of_the_pasted_face(restorer, monkeypatch, color):
    scored = []
    monkeypatch.setattr(restorer, '_similarity', lambda restored, _: scored.append(restored[0]) or np.ones(1))
    faces = restorer.restore(photograph(), Settings(measure_identity=True, color=color)).restored_faces
    assert len(faces) == 2
    for seen, face in zip(scored, faces, strict=True):
        np.testing.assert_allclose(seen.astype(int), face.restored, atol=1)


def test_bound_that_cannot_be_reached_leaves_the_face_alone(restorer, monkeypatch):
    monkeypatch.setattr(restorer, '_similarity', lambda restored, crop: np.zeros(len(crop)))
    result = restorer.restore(photograph(), Settings(min_identity=0.5))
    assert not result.changed
    assert result.faces[0].skipped == 'every strength scores below --min-identity 0.5'


@pytest.mark.parametrize(
    'fields',
    [{'strength': 1.5}, {'scale': 0}, {'scale': 99}, {'color': 'lime'}, {'detail': 'some'},
     {'min_identity': float('nan')}, {'min_face': -1}],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(fields):
    with pytest.raises(UsageError, match=f'--{next(iter(fields))}'.replace('_', '-')):
        Settings(**fields)


@pytest.mark.parametrize(
    'photo',
    [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8), torch.zeros(3, 4, 4) + 2,
     torch.zeros(4, 4), 7],
)  # fmt: skip
def test_other_objects_are_refused(restorer, photo):
    with pytest.raises(UsageError):
        restorer.restore(photo)


@pytest.mark.parametrize('mode', ['I;16', 'I;16B', 'I;16L'])
def test_16_bit_pillow_image_keeps_its_bits(mode):
    array = photograph(np.uint16)[:, :, 0]
    image = Image.frombytes(mode, array.shape[::-1], array.astype('>u2' if mode == 'I;16B' else '<u2').tobytes())
    np.testing.assert_array_equal(from_pillow(image).pixels, np.repeat(array[:, :, None], 3, 2))


@pytest.mark.parametrize('mode', ['I', 'F'])
def test_32_bit_pillow_image_is_refused(mode):
    with pytest.raises(UnreadableImageError, match=rf'image: {mode} pixels \(32 bits\); save it with 8 or 16 bits'):
        as_picture(Image.new(mode, (5, 7)))


@pytest.mark.parametrize(('mode', 'plain'), [('PA', 'RGBA'), ('RGBa', 'RGBA'), ('La', 'LA')])
def test_alpha_of_odd_pillow_modes_stays(mode, plain):
    image = Image.new(plain, (5, 7), (200, 100) if plain == 'LA' else (200, 200, 200, 100)).convert(mode)
    assert (from_pillow(image).alpha == 100).all()


def test_profile_of_cmyk_is_left_behind():
    image = Image.new('CMYK', (5, 7))
    image.info['icc_profile'] = b'of CMYK'
    assert from_pillow(image).meta.icc is None


@pytest.mark.parametrize('name', ['x.gif', 'x.auto'])
def test_saving_with_an_unknown_suffix_names_the_known_ones(unchanging, tmp_path, name):
    with pytest.raises(UsageError, match=rf'{name}: cannot write \.\w+; known are \.bmp, \.jpeg, .*\.webp'):
        unchanging.restore(photograph()).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_many_share_batches_and_keep_their_order(restorer, monkeypatch):
    monkeypatch.setattr(restorer.network, 'batch', 8)
    runs = restorer.network.runs
    photos = [photograph(), np.rot90(photograph()).copy(), photograph()[::-1].copy(), photograph()[:, ::-1].copy()]
    many = [result.image for _, result in restorer.restore_many(photos)]
    assert restorer.network.runs == runs + 1
    for photo, image in zip(photos, many, strict=True):
        np.testing.assert_allclose(image.astype(int), restorer.restore(photo).image, atol=1)


def test_one_bad_photograph_stops_nothing(restorer, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'bad')
    outcomes = [outcome for _, outcome in restorer.restore_many([photograph(), tmp_path / 'bad.png', photograph()])]
    assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False]
    assert 'bad.png' in str(outcomes[1])


def test_enhance_is_gfpganers(restorer):
    bgr = photograph()[:, :, ::-1]
    crops, faces, photo = restorer.enhance(bgr)
    assert (len(crops), len(faces)) == (2, 2)
    np.testing.assert_array_equal(photo[:, :, ::-1], restorer.restore(photograph()).image)


def test_enhancing_what_opencv_could_not_read_is_one_line(restorer):
    with pytest.raises(UsageError, match='found NoneType'):
        restorer.enhance(None)


def test_unknown_recogniser_is_refused_at_once(weights):
    with pytest.raises(UsageError, match='--recogniser nobody: known are dlib'):
        mmrbgan.Restorer(weights, device='cpu', detector=stand_in, recogniser='nobody')


def test_gfpganer_by_one_import(weights, monkeypatch):
    other = GFPGANer(model_path=str(weights), upscale=2, arch='clean', channel_multiplier=2, device=torch.device('cpu'))
    monkeypatch.setattr(other, 'detector', stand_in)
    crops, faces, photo = other.enhance(photograph(), has_aligned=False, only_center_face=True, paste_back=True)
    assert (len(crops), faces[0].shape, photo.shape) == (1, (512, 512, 3), (480, 640, 3))
    assert other.enhance(photograph()[:64, :64], has_aligned=True)[2] is None


def test_gfpganers_background(weights, monkeypatch):
    class Upsampler:
        def enhance(self, img, outscale):
            return np.full((img.shape[0] * outscale, img.shape[1] * outscale, 3), (1, 2, 3), np.uint8), None

    other = GFPGANer(weights, upscale=2, bg_upsampler=Upsampler(), device='cpu')
    monkeypatch.setattr(other, 'detector', stand_in)
    assert other.enhance(photograph())[2][-1, -1].tolist() == [1, 2, 3]


def test_no_weights_is_one_line_that_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr('mmrbgan.restoring.default_weights.packaged_weights.__defaults__', (tmp_path,))
    with pytest.raises(UsageError, match=r'no weights: .* --weights FILE'):
        mmrbgan.Restorer()


def test_packaged_weights_are_checked(weights, monkeypatch, tmp_path):
    import hashlib

    from mmrbgan.restoring.default_weights import packaged_weights

    content = weights.read_bytes()
    (tmp_path / 'net.safetensors').write_bytes(content)
    (tmp_path / 'SHA256SUMS').write_text(f'{hashlib.sha256(content).hexdigest()}  net.safetensors\n')
    assert packaged_weights(tmp_path) == tmp_path / 'net.safetensors'
    (tmp_path / 'net.safetensors').write_bytes(content + b' ')
    with pytest.raises(UsageError, match='SHA-256'):
        packaged_weights(tmp_path)
    (tmp_path / 'net.safetensors').write_bytes(content)
    with (tmp_path / 'SHA256SUMS').open('a') as file:
        file.write('0  net.graph.onnx\n')
    with pytest.raises(UsageError, match=r'net\.graph\.onnx: missing or not as it was shipped'):
        packaged_weights(tmp_path)


def test_pickled_code_is_not_run(tmp_path):
    import pickle

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / 'written'), 'w')

    (tmp_path / 'evil.pth').write_bytes(pickle.dumps(Evil()))
    with pytest.raises(UsageError, match='nothing was executed'):
        mmrbgan.Restorer(tmp_path / 'evil.pth')
    assert not (tmp_path / 'written').exists()


def run_python(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout


def test_import_is_fast_and_light():
    code = (
        'import sys, time; t = time.process_time(); import mmrbgan; '
        'print(time.process_time() - t, "torch" in sys.modules)'
    )
    seconds, torch_is_there = run_python(code).split()
    assert float(seconds) < 0.15
    assert torch_is_there == 'False'


def test_restoring_imports_no_basicsr(weights):
    code = f"""
import sys
sys.modules['basicsr'] = None  # any import of it fails
import numpy as np, mmrbgan
result = mmrbgan.Restorer({str(weights)!r}, device='cpu', detector='dlib').restore(np.zeros((64, 64, 3), np.uint8))
print(result.changed, any(name.startswith('basicsr.') for name in sys.modules))
"""
    assert run_python(code).split() == ['False', 'False']
