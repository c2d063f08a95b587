"""`mmrbgan restore --demo`: a photograph anyone may show, degraded as in training (Eq. 17), restored and measured.

It is NASA's portrait of Eileen Collins, in the public domain, which ships with scikit-image. The lengths of Eq. 17 are
for aligned faces of 512 px; this one is 169 px large, and they are a third. The degradation is that of the first seed
with which a face is found, not the one that flatters; docs/model_card.md has the median over ninety.
"""

import sys
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.alignment import alignment_matrix, warp
from mmrbgan_data.detection import DlibDetector

from .before_after import before_after_sheet
from .files.output_folder import OutputFolder
from .files.photo_file import Picture, encode_picture
from .masks import ellipse_mask
from .restorer import Restorer
from .results import RestoredPhoto

SEEDS = 90
LENGTHS: dict[str, Any] = {'kernel_size': 13, 'sigma': (0.1, 3.3), 'motion_length': (1.0, 13.5)}  # pixels
FACE_SIZE = 256  # pixels of the aligned face that is measured


def run_demo(restorer: Restorer, folder: Path) -> int:
    """Write degraded, restored and sheet into ``folder``, print the face's PSNR before and after; return 0.

    Raises:
        UsageError: no face is found, however the photograph is degraded.
    """
    seed, original, degraded, result = first_with_a_face(restorer)
    output = OutputFolder(folder, remember=False)
    pictures = {
        'original.png': Picture(original),
        'degraded.png': Picture(degraded),
        'restored.png': result.picture,
        'before_after.png': Picture(before_after_sheet(result)),
    }
    for name, picture in pictures.items():
        output.write(folder / PurePosixPath(name), encode_picture(picture, 'PNG'))
    landmarks = DlibDetector()(original)[0].landmarks
    before, after = (face_psnr(original, image, landmarks) for image in (degraded, result.picture.pixels))
    sys.stdout.write(f'weights: {restorer.weights}\n')
    sys.stdout.write(f'degradation: seed {seed}, the first with which a face is found\n')
    sys.stdout.write(
        f'PSNR of the face: {before:.2f} dB degraded, {after:.2f} dB restored ({after - before:+.2f} dB)\n'
    )
    sys.stdout.write(f'open {folder / "before_after.png"}\n')
    return 0


def first_with_a_face(restorer: Restorer) -> tuple[int, np.ndarray, np.ndarray, RestoredPhoto]:
    """Return the first seed with which a face is found and restored, the photograph, its degraded form, the result.

    Raises:
        UsageError: none of the seeds is.
    """
    for seed in range(SEEDS):
        original, degraded = photographs(seed)
        result = restorer.restore(degraded)
        if result.restored_faces:
            return seed, original, degraded, result
    raise UsageError('no face found in the degraded photographs; try another --detector')


def photographs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the photograph and its degraded form, RGB uint8 (512, 512, 3); the same for the same seed."""
    from skimage import data

    from mmrbgan_data.degradation import DegradationOptions, degrade, draw_degradation

    original = data.astronaut()
    degradation = draw_degradation(DegradationOptions(**LENGTHS), np.random.default_rng(seed))
    return original, degrade(original, degradation)


def face_psnr(original: np.ndarray, image: np.ndarray, landmarks: np.ndarray) -> float:
    """Return the PSNR in dB on the aligned face, hair and background left out; RGB uint8 (h, w, 3) twice."""
    matrix = alignment_matrix(landmarks, FACE_SIZE)
    faces = [warp(each, matrix, (FACE_SIZE, FACE_SIZE)).astype(np.float64) for each in (original, image)]
    inside = ellipse_mask(faces[0], landmarks, matrix) > 0.5
    error = float(((faces[0] - faces[1])[inside] ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-9)))
