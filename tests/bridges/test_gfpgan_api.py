"""Programs written for GFPGANer run with ours: the calls of Real-ESRGAN's and SadTalker's scripts, put in our words."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_restoring import photograph, stand_in, tiny_weights

from mmrbgan.bridges import gfpgan_api
from mmrbgan.gfpganer import GFPGANer
from mmrbgan.restoring import restorer
from mmrbgan_arch.support.errors import UsageError

RELEASE = 'https://github.com/TencentARC/GFPGAN/releases/download'


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """Let a tiny network be the one that ships; return the paths that were asked for."""
    weights, asked = tiny_weights(tmp_path), []
    monkeypatch.setattr(restorer, 'choose_weights', lambda path: asked.append(path) or weights)
    monkeypatch.setattr(restorer, 'make_detector', lambda *_: stand_in)
    return asked


class Upsampler:
    def enhance(self, img, outscale):
        return np.repeat(np.repeat(img, int(outscale), 0), int(outscale), 1), 'RGB'


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_as_real_esrgan_calls_it(shipped, caplog, channels):
    enhancer = GFPGANer(
        model_path=f'{RELEASE}/v1.3.0/GFPGANv1.3.pth',
        upscale=2.0,
        arch='clean',
        channel_multiplier=2,
        bg_upsampler=Upsampler(),
    )
    image = photograph(channels=max(channels, 3))[:, :, :channels].squeeze()
    _, _, output = enhancer.enhance(image, has_aligned=False, only_center_face=False, paste_back=True)
    assert output.shape == (480, 640, 3) and output.dtype == np.uint8
    assert shipped == [None] and caplog.text.count("holds another network's weights") == 1


def test_as_sadtalker_calls_it(shipped):
    enhancer = GFPGANer(
        model_path='checkpoints/GFPGANv1.4.pth', upscale=2, arch='clean', channel_multiplier=2, bg_upsampler=None
    )
    cropped, restored, output = enhancer.enhance(
        photograph(), has_aligned=False, only_center_face=False, paste_back=True
    )
    assert [face.shape for face in cropped + restored] == [(512, 512, 3)] * 4 and output.shape == (480, 640, 3)
    assert shipped == [None]


FOREIGN = [
    'GFPGANCleanv1-NoCE-C2.pth',
    'a\\GFPGANv1.2.pth',
    f'{RELEASE}/v1.3.4/RestoreFormer.pth',
    'codeformer.pth?x=1',
]


@pytest.mark.parametrize('name', FOREIGN)
def test_files_of_gfpgan_mean_the_weights_that_ship(name):
    assert gfpgan_api._own_weights(name) is None


def test_own_files_are_taken_and_other_addresses_refused(tmp_path):
    assert gfpgan_api._own_weights(tmp_path / 'mine.pth') == tmp_path / 'mine.pth'
    with pytest.raises(UsageError, match='fetch it yourself'):
        gfpgan_api._own_weights('https://example.org/mine.pth')


def test_what_programs_look_at(shipped):
    enhancer = GFPGANer(None, upscale=2, device='cpu')
    enhancer.enhance(photograph(), only_center_face=True)
    helper = enhancer.face_helper
    assert len(helper.cropped_faces) == len(helper.restored_faces) == len(helper.det_faces) == 1
    assert helper.all_landmarks_5[0].shape == (5, 2) and helper.affine_matrices[0].shape == (2, 3)
    helper.clean_all()
    assert not helper.restored_faces and not helper.det_faces
    face = torch.rand(1, 3, 512, 512) * 2 - 1
    assert enhancer.gfpgan.to('cpu').eval()(face, return_rgb=False, weight=0.5)[0].shape == face.shape
    enhancer.upscale = 1
    assert (enhancer.upscale, helper.upscale_factor) == (1, 1)
    assert enhancer.enhance(photograph())[2].shape == (240, 320, 3)


def test_importing_it_first_mends_basicsr():
    pytest.importorskip('basicsr', exc_type=ImportError)
    code = 'import mmrbgan.gfpganer; from basicsr.archs.rrdbnet_arch import RRDBNet; print(RRDBNet.__name__)'
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert run.stdout.strip().endswith('RRDBNet'), run.stderr
