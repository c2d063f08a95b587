"""``quick-faces/train`` and ``quick-faces/val``: faces for the quick run, without any download.

Drawn faces, and in the validation set the public-domain portrait of the astronaut Eileen Collins that ships inside
scikit-image (never trained on). They are made on first use in the user's cache. ``MMRBGAN_FACES=DIR`` takes the real
faces in ``DIR/train256`` and ``DIR/val256`` in their place.
"""

import logging
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.user_cache import cache_folder

from ..alignment import alignment_matrix, apply, warp
from ..components import LANDMARKS_FILE, write_landmarks
from ..images import write_image
from .drawing import draw_face

QUICK_FACES, FACES_VARIABLE = 'quick-faces', 'MMRBGAN_FACES'
SIZE = 256
COUNTS = {'train': 200, 'val': 15}  # drawn faces
VERSION = 1  # of the drawings; one more makes every cache anew

_LOGGER = logging.getLogger('basicsr')

# x, y of the 68 points in scikit-image's 512 px picture, by dlib's predictor, looked at.
ASTRONAUT_LANDMARKS = (
    '179 104 180 116 181 127 182 138 185 149 191 160 200 168 209 175 220 178 232 177 242 171 252 164 260 154 265 144 '
    '268 132 270 121 272 109 186 94 192 88 200 87 209 89 216 92 236 94 244 91 252 91 260 93 265 99 226 102 225 111 '
    '225 119 225 127 214 131 219 133 224 134 229 133 234 132 195 101 200 98 207 99 212 104 206 104 200 104 238 105 '
    '243 100 250 101 255 104 250 106 244 106 200 139 209 139 218 139 223 141 229 140 237 140 246 141 237 151 229 155 '
    '222 155 216 154 207 149 203 140 217 143 223 144 229 143 243 142 229 150 223 150 217 149'
)


def quick_faces(split: str) -> Path:
    """Return the folder of aligned 256 px faces with their landmarks.csv for ``split``, made if it is not there yet.

    Args:
        split: 'train' or 'val'.

    Raises:
        UsageError: another split, or ``MMRBGAN_FACES`` names a folder without it.
    """
    if split not in COUNTS:
        raise UsageError(f'{QUICK_FACES}/{split}: only {QUICK_FACES}/train and {QUICK_FACES}/val exist')
    real = os.environ.get(FACES_VARIABLE)
    if real:
        return _real_faces(Path(real).expanduser(), split)
    folder = cache_folder(f'{QUICK_FACES}-{VERSION}') / split
    if not folder.is_dir():
        _make(folder, split)
    return folder


def _real_faces(root: Path, split: str) -> Path:
    folder = root / f'{split}{SIZE}'
    if not folder.is_dir():
        raise UsageError(
            f'{FACES_VARIABLE}: no folder {str(folder)!r}; correct the variable, or unset it for drawn faces'
        )
    return folder


def _make(folder: Path, split: str) -> None:
    """Draw a split beside its place and move it there whole, so that a run that is stopped leaves no half of it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix='.making-') as temporary:
        _write_faces(Path(temporary) / split, split)
        try:
            (Path(temporary) / split).rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise


def _write_faces(folder: Path, split: str) -> None:
    folder.mkdir()
    landmarks = {}
    for name, image, points in _faces(split):
        write_image(folder / name, image)
        landmarks[name] = points
    write_landmarks(folder / LANDMARKS_FILE, landmarks)


def _faces(split: str) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield file name, image (s, s, 3) and landmarks (68, 2) of a split."""
    from tqdm import tqdm

    if split == 'val':
        yield 'astronaut.png', *_astronaut()
    numbers = range(COUNTS[split])
    split_seed = list(COUNTS).index(split)
    threads = max(1, min(4, os.cpu_count() or 1))
    _LOGGER.info('Drawing %d faces for %s/%s, once', len(numbers), QUICK_FACES, split)
    with ThreadPoolExecutor(threads) as pool:
        drawn = pool.map(lambda number: draw_face(np.random.default_rng([split_seed, number]), SIZE), numbers)
        for number, (image, points) in enumerate(tqdm(drawn, f'drawing faces ({split})', len(numbers), unit='face')):
            yield f'drawn_{number:04d}.png', image, points


def _astronaut() -> tuple[np.ndarray, np.ndarray]:
    from skimage import data

    points = np.array(ASTRONAUT_LANDMARKS.split(), float).reshape(68, 2)
    matrix = alignment_matrix(points, SIZE)
    return warp(data.astronaut(), matrix, (SIZE, SIZE), interpolation=cv2.INTER_LANCZOS4), apply(matrix, points)
