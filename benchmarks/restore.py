"""What restoring costs beside the network, and a group portrait of 29 faces: time by stage and peak memory.

    python benchmarks/restore.py                     # full network at 512 px, random weights: time needs no training
    python benchmarks/restore.py --size 128 --narrow 0.25
    python benchmarks/restore.py --weights my.safetensors --faces FOLDER

The photograph is the astronaut of scikit-image, 512 x 512 px with one face, from PNG to PNG; the group is
29 of her faces in four rows, or 29 people of a folder of aligned faces. Numbers go to stdout as Markdown.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from skimage import data

from mmrbgan import Restorer, Settings
from mmrbgan.restoring.files.photo_file import encode_picture
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.weights_io import write_weights
from mmrbgan_data.images import list_images, read_image

GROUP, COLUMNS, TILE = 29, 8, 150
BOUND = 0.25  # of the network's time: what everything else may take


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--weights', help='default: random ones')
    parser.add_argument('--size', type=int, default=512)
    parser.add_argument('--narrow', type=float, default=1.0)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--faces', metavar='FOLDER', help='aligned faces for the group (default: one face, 29 times)')
    parser.add_argument('--only', choices=('one', 'group'), help='leave the other out')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(args.weights) if args.weights else random_weights(Path(folder), args.size, args.narrow)
        restorer = Restorer(weights, device='cpu', detector='dlib', mask='ellipse')
        if args.only != 'group':
            one_photograph(restorer, Path(folder), args.repeat)
        if args.only != 'one':
            group_portrait(restorer, args.faces)


def random_weights(folder: Path, size: int, narrow: float) -> Path:
    """Write a network of random weights."""
    torch.manual_seed(0)
    path = folder / 'random.safetensors'
    write_weights(path, MMRBGAN(out_size=size, narrow=narrow).state_dict())
    return path


def one_photograph(restorer: Restorer, folder: Path, repeat: int) -> None:
    """Print the seconds of each stage, from file to file, the photographs one after the other."""
    path = folder / 'astronaut.png'
    Image.fromarray(data.astronaut()).save(path)
    restorer.restore(path)  # loads dlib's models
    restorer.times.seconds.clear()
    for _ in range(repeat):
        result = restorer.restore(path)
        with restorer.times.stage('encode'):
            encode_picture(result.picture, 'PNG')
    seconds = {stage: total / repeat for stage, total in restorer.times.seconds.items()}
    others = sum(seconds.values()) - seconds['network']
    print(f'| stage | ms per photograph (512 x 512, one face, network of {restorer.network.size} px) |\n| --- | ---: |')
    for stage, value in seconds.items():
        print(f'| {stage} | {1000 * value:.1f} |')
    share = others / seconds['network']
    print(f'\nbeside the network: {100 * share:.1f} % of its time ({"within" if share <= BOUND else "ABOVE"} 25 %)\n')


def portraits(folder: str | None) -> list[np.ndarray]:
    """Return 29 faces with some background, RGB uint8 (150, 150, 3)."""
    if folder is None:
        face = data.astronaut()[20:220, 120:320]
        found = [face if i % 2 else face[:, ::-1] for i in range(GROUP)]
    else:
        found = [read_image(Path(folder) / name) for name in list_images(folder)[:GROUP]]
    return [cv2.resize(each, (TILE, TILE), interpolation=cv2.INTER_AREA) for each in found]


def group_portrait(restorer: Restorer, folder: str | None) -> None:
    """Print how a portrait of 29 faces goes."""
    rows = -(-GROUP // COLUMNS)
    photo = np.full((rows * TILE, COLUMNS * TILE, 3), 127, np.uint8)
    for i, face in enumerate(portraits(folder)):
        y, x = TILE * (i // COLUMNS), TILE * (i % COLUMNS)
        photo[y : y + TILE, x : x + TILE] = face
    runs, start = restorer.network.runs, time.perf_counter()
    result = restorer.restore(photo, Settings(min_face=10))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f'group of {GROUP}, network of {restorer.network.size} px: {len(result.faces)} faces found, '
        f'{len(result.restored_faces)} restored in '
        f'{restorer.network.runs - runs} network run(s) of at most {restorer.network.batch}, '
        f'{time.perf_counter() - start:.1f} s, peak memory of the process {peak:.2f} GiB'
    )


if __name__ == '__main__':
    main()
