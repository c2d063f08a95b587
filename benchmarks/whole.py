"""Photographs from file to file: reading, detection, alignment, network, pasting, writing; ours and GFPGANer in turn.

    python benchmarks/whole.py                          # the astronaut, 512 x 512, one face
    python benchmarks/whole.py --photos FOLDER --count 6 --rounds 3
    python benchmarks/whole.py --start                  # the first photograph from the shell, by stage

GFPGANer is that of the package gfpgan, with its RetinaFace (ResNet-50) and ParseNet. Its weights and our 512-px
network's are random, since times need no training; a random RetinaFace finds no faces, so that what CenterFace found is
put in the place of its finds after it has run. Each restorer lives in a process of its own; medians are over rounds, in
each of which every restorer does every photograph once. Both write PNG at the photograph's own size.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from inference import peak_resident
from PIL import Image
from skimage import data

GFPGAN, OURS, SHIPPED = 'GFPGANer', 'MMRBGAN 512 px', 'MMRBGAN 128 px, shipped'
BOUND, BESIDE, OF_TORCH = 0.40, 0.15, 0.35  # of GFPGANer's time, of the network's, of the torch route's
STAGES = """
import time
start = time.perf_counter()
def told(name):
    global start
    print(name, time.perf_counter() - start, flush=True)
    start = time.perf_counter()
from mmrbgan import Restorer
from mmrbgan.restoring.files.photo_file import encode_picture
import numpy, cv2
{engine}
told('imports')
restorer = Restorer(engine={name!r})
told('weights')
result = restorer.restore({photo!r})
open({out!r}, 'wb').write(encode_picture(result.picture, 'PNG'))
told('first photograph')
"""


def main() -> None:
    """Measure what is asked for and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--photos', type=Path, help='a folder of photographs with at least one face each')
    parser.add_argument('--count', type=int, default=6, help='photographs of the folder')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--start', action='store_true')
    parser.add_argument('--serve', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    if args.serve:
        serve(*args.serve)
        return
    with tempfile.TemporaryDirectory() as folder:
        if args.start:
            show_start(Path(folder), args.rounds)
        else:
            show_whole(choose_photographs(args, Path(folder)), Path(folder), args)


def choose_photographs(args: argparse.Namespace, folder: Path) -> list[Path]:
    """Return the photographs, the astronaut if no folder was named."""
    if args.photos:
        return sorted(path.absolute() for path in args.photos.iterdir() if path.suffix in ('.jpg', '.png'))[
            : args.count
        ]
    path = folder / 'astronaut.png'
    Image.fromarray(data.astronaut()).save(path)
    return [path]


# Restorers, each in a process


def serve(name: str, folder: str) -> None:
    """For every path read, restore it; print seconds, those of the network, and the peak memory in GB."""
    seconds: dict[str, float] = {'network': 0.0}
    restore = gfpganer(Path(folder), seconds) if name == GFPGAN else ours(Path(folder), name, seconds)
    for line in sys.stdin:
        seconds['network'] = 0.0
        start = time.perf_counter()
        restore(Path(line.strip()), Path(folder) / f'{name}.png')
        print(time.perf_counter() - start, seconds['network'], peak_resident(), flush=True)


def ours(folder: Path, name: str, seconds: dict[str, float]) -> Callable[[Path, Path], None]:
    """Return our whole way from file to file."""
    from mmrbgan import Restorer
    from mmrbgan.restoring.files.photo_file import encode_picture
    from mmrbgan_arch import MMRBGAN
    from mmrbgan_arch.weights_io import write_weights

    weights = None
    if name == OURS:
        weights = folder / 'mmrbgan_512.safetensors'
        torch.manual_seed(0)
        write_weights(weights, MMRBGAN(out_size=512).state_dict())
    restorer = Restorer(weights, device='cpu', mask='ellipse')

    def restore(path: Path, output: Path) -> None:
        restorer.times.seconds.clear()
        output.write_bytes(encode_picture(restorer.restore(path).picture, 'PNG'))
        seconds['network'] = restorer.times.seconds['network']

    return restore


def gfpganer(folder: Path, seconds: dict[str, float]) -> Callable[[Path, Path], None]:
    """Return GFPGANer's, with random weights and CenterFace's finds."""
    from mmrbgan_arch import basicsr_bridge

    basicsr_bridge.connect()
    from facexlib.detection.retinaface import RetinaFace
    from facexlib.parsing.parsenet import ParseNet
    from facexlib.utils import face_restoration_helper
    from gfpgan import GFPGANer
    from gfpgan.archs.gfpganv1_clean_arch import GFPGANv1Clean

    from mmrbgan_data.detection import make_detector

    torch.manual_seed(0)
    finder, finds = make_detector('centerface'), {}

    def look(network: Any, image: np.ndarray, *args: Any) -> np.ndarray:
        RetinaFace.detect_faces(network, image, *args)
        return finds['boxes']

    retinaface = RetinaFace(network_name='resnet50', device='cpu').eval()
    retinaface.detect_faces = lambda image, *args: look(retinaface, image, *args)
    parsenet = ParseNet(in_size=512, out_size=512, parsing_ch=19).eval()
    face_restoration_helper.init_detection_model = lambda *_, **__: retinaface
    face_restoration_helper.init_parsing_model = lambda *_, **__: parsenet
    options = {
        'num_style_feat': 512,
        'channel_multiplier': 2,
        'num_mlp': 8,
        'input_is_latent': True,
        'different_w': True,
        'sft_half': True,
    }
    clean = GFPGANv1Clean(out_size=512, fix_decoder=False, **options)
    torch.save({'params_ema': clean.state_dict()}, folder / 'gfpgan.pth')
    restorer = GFPGANer(str(folder / 'gfpgan.pth'), upscale=1, device=torch.device('cpu'))
    network, ready = restorer.gfpgan, {}

    def run(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        result = network(*args, **options)
        seconds['network'] += time.perf_counter() - start
        return result

    restorer.gfpgan = run

    def restore(path: Path, output: Path) -> None:
        finds['boxes'] = ready[path]
        _, _, picture = restorer.enhance(cv2.imread(str(path)))
        cv2.imwrite(str(output), picture)

    def prepared(path: Path, output: Path) -> None:
        if path not in ready:
            faces = finder(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
            ready[path] = np.stack([np.r_[face.box, face.score, np.ravel(face.landmarks)] for face in faces])
        restore(path, output)

    return prepared


# Tables


def show_whole(photographs: list[Path], folder: Path, args: argparse.Namespace) -> None:
    """Print the table."""
    first: dict[str, float] = {}
    rows: dict[str, list[list[list[float]]]] = {}
    with ExitStack() as stack:
        ask = {}
        for name in (OURS, GFPGAN, SHIPPED):
            start = time.perf_counter()
            ask[name] = stack.enter_context(Server(name, folder, args.threads))
            ask[name](photographs[0])
            first[name] = time.perf_counter() - start
        for i in range(args.rounds + 1):
            found = {name: [each(path) for path in photographs] for name, each in ask.items()}
            for name, numbers in found.items():
                rows.setdefault(name, []).extend([numbers] * (i > 0))  # the first round warms up
    sizes = ', '.join(sorted({'x'.join(map(str, Image.open(path).size)) for path in photographs}))
    print(f'{len(photographs)} photographs ({sizes}), {args.threads} threads, medians of {args.rounds} rounds\n')
    print('| restorer | s a photograph | of GFPGANer | photographs/s | network, s | beside it | peak, GB | first, s |')
    print('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    # (rounds, photographs, numbers) -> the median over rounds, then the mean over photographs
    totals = {name: np.median(np.array(each), axis=0).mean(axis=0) for name, each in rows.items()}
    for name, (whole, network, peak) in totals.items():
        print(
            f'| {name} | {whole:.3f} | {whole / totals[GFPGAN][0]:.2f} | {1 / whole:.2f} | {network:.3f} | '
            f'{100 * (whole / network - 1):.0f} % | {peak:.2f} | {first[name]:.1f} |'
        )
    ratio, beside = totals[OURS][0] / totals[GFPGAN][0], totals[OURS][0] / totals[OURS][1] - 1
    print(f'\n{ratio:.2f} of GFPGANer: {"holds" if ratio <= BOUND else "MISSED"} (at most {BOUND:.2f})')
    print(f'{beside:.2f} of the network beside it: {"holds" if beside <= BESIDE else "MISSED"} (at most {BESIDE:.2f})')


class Server:
    """A restorer in a process: called with a path, it returns the numbers that the process prints."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self._name = name
        command = [sys.executable, __file__, '--threads', str(threads), '--serve', name, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, path: Path) -> list[float]:
        """Restore ``path``."""
        self._process.stdin.write(f'{path}\n')
        self._process.stdin.flush()
        while line := self._process.stdout.readline():
            if line[0].isdigit():  # gfpgan's packages print too
                return [float(part) for part in line.split()]
        raise SystemExit(f'{self._name} ended; what it printed above says why')

    def __enter__(self) -> 'Server':
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()


def show_start(folder: Path, rounds: int) -> None:
    """Print the seconds of a first small photograph from the shell, and of its stages in one process."""
    photo = folder / 'small.png'
    Image.fromarray(data.astronaut()[:256, 96:352]).save(photo)
    print('| engine | from the shell, s | imports | weights | first photograph |\n| --- | ---: | ---: | ---: | ---: |')
    shell: dict[str, list[float]] = {'onnx': [], 'torch': []}
    stages: dict[str, list[list[float]]] = {'onnx': [], 'torch': []}
    for _ in range(rounds):
        for engine, times in shell.items():
            command = [
                sys.executable,
                '-m',
                'mmrbgan.cli',
                'restore',
                str(photo),
                '--engine',
                engine,
                '-o',
                str(folder / engine),
            ]
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
            code = STAGES.format(
                engine='import onnxruntime' if engine == 'onnx' else 'import torch',
                name=engine, photo=str(photo), out=str(folder / 'stages.png'),
            )  # fmt: skip
            done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
            stages[engine].append([float(line.rsplit(' ', 1)[1]) for line in done.stdout.splitlines()])
    for engine, times in shell.items():
        split = [statistics.median(each) for each in zip(*stages[engine], strict=True)]
        print(f'| {engine} | {statistics.median(times):.2f} | ' + ' | '.join(f'{each:.2f}' for each in split) + ' |')
    ratio = statistics.median(shell['onnx']) / statistics.median(shell['torch'])
    print(f'\n{ratio:.2f} of the torch route: {"holds" if ratio <= OF_TORCH else "MISSED"} (at most {OF_TORCH:.2f})')


if __name__ == '__main__':
    main()
