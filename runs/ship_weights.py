"""From a trained network's file to what ships: the weights in the package, their scores by group, the card's pictures.

    python runs/ship_weights.py NET.pth --name mmrbgan_128_v0.2.0 --options options/NAME.yml --faces FACES

writes mmrbgan/weights_files/NAME.safetensors (float16), its graph NAME.graph.onnx for onnxruntime, and their lines in
SHA256SUMS (a default's files replace those before them), benchmarks/results/NAME_scores.txt (val256 and val_groups256
of FACES by pose and group, and the demo over ninety seeds), docs/images/shipped_drawn_faces.jpg and demo.png, and
prints the tables of docs/model_card.md.
`--beside` ships it beside the default instead.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'mmrbgan/weights_files'
SETS = ('val256', 'val_groups256')
GROUPS = '^me_(?P<group>[a-z]+)_(?P<sex>[a-z]+)_'
LARGEST = 20 * 10**6  # bytes by which the wheel may grow


def main() -> None:
    """Write the file, score it, show it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('network', help='net_g_latest.pth of a run, or a .safetensors file')
    parser.add_argument('--name', required=True, help='with its version, such as mmrbgan_128_v0.2.0')
    parser.add_argument('--options', required=True, help="the run's option file, for the degradation of the faces")
    parser.add_argument('--faces', required=True, help='holds val256 and val_groups256')
    parser.add_argument('--beside', action='store_true', help='keep the default')
    parser.add_argument('--seeds', type=int, default=90, help='of the demo (default: %(default)s)')
    args = parser.parse_args()
    path = write(Path(args.network), args.name, args.beside)
    scores, tables = [], []
    for name in SETS:
        table = ROOT / f'benchmarks/results/{args.name}_{name}.md'
        scores.append(score(path, name, table, args))
        tables.append(f'{name}\n\n{table.read_text(encoding="utf-8")}')
        table.unlink()
    scores.append(call('benchmarks/weights.py', str(path), '--demo', str(args.seeds)))
    show(path, args)
    results = ROOT / f'benchmarks/results/{args.name}_scores.txt'
    results.write_text(without_folders('\n'.join(scores), args.faces), encoding='utf-8')
    print(*tables, scores[-1].splitlines()[-1], results, sep='\n')


def write(network: Path, name: str, beside: bool) -> Path:
    """Write the network in float16 and its graph, and enter them into SHA256SUMS; return the network's path."""
    from mmrbgan.bridges.onnx_export import graph_without_weights
    from mmrbgan.restoring.default_weights import graph_of
    from mmrbgan_arch.support.atomic_files import sha256_of, write_bytes, write_text
    from mmrbgan_arch.weights_io import load_network, read_state, write_weights

    path, sums = FOLDER / f'{name}.safetensors', FOLDER / 'SHA256SUMS'
    state = {key: value.half() if value.is_floating_point() else value for key, value in read_state(network).items()}
    write_weights(path, state)
    if (size := path.stat().st_size) > LARGEST:
        path.unlink()
        raise SystemExit(f'{path}: {size / 1e6:.1f} MB are too many for the wheel')
    graph, shipped = graph_of(path), load_network(path)
    write_bytes(graph, graph_without_weights(shipped, shipped.out_size))
    lines = sums.read_text(encoding='utf-8').splitlines()
    default = FOLDER / lines[0].split()[1]
    replaced = {path, graph} if beside else {path, graph, default, graph_of(default)}
    for old in replaced - {path, graph}:
        old.unlink(missing_ok=True)
    others = [line for line in lines if FOLDER / line.split()[1] not in replaced]
    own = [f'{sha256_of(file)}  {file.name}' for file in (path, graph)]
    write_text(sums, '\n'.join([*others, *own] if beside else [*own, *others]) + '\n')
    return path


def score(path: Path, name: str, table: Path, args: argparse.Namespace) -> str:
    """Score the faces of a set by pose and, where their names tell it, by group."""
    faces = Path(args.faces) / name
    groups = ['--by', GROUPS] if any(faces.glob('me_*')) else []
    line = [
        'benchmarks/weights.py',
        str(path),
        '--options',
        args.options,
        '--faces',
        str(faces),
        '--markdown',
        str(table),
    ]
    return call(*line, *groups)


def show(path: Path, args: argparse.Namespace) -> None:
    """Make the pictures, of drawn faces and of a photograph in the public domain, which anyone may show."""
    images = ROOT / 'docs/images'
    drawn = ['benchmarks/weights.py', str(path), '--options', args.options, '--faces', 'quick-faces/val']
    call(*drawn, '--metrics', 'psnr', '--sheet', str(images / 'shipped_drawn_faces.jpg'))
    with tempfile.TemporaryDirectory() as folder:
        call('-m', 'mmrbgan.cli', 'restore', '--demo', '--weights', str(path), '-o', folder)
        shutil.copy(Path(folder) / 'before_after.png', images / 'demo.png')


def without_folders(text: str, faces: str) -> str:
    """Leave out this machine's folders, and the means that the gains repeat."""
    kept = [line for line in text.splitlines() if re.match(r'\$|\d+ faces|seed|\S+: face found|  [a-z]|$|    ', line)]
    return '\n'.join(kept).replace(f'{ROOT}/', '').replace(faces.rstrip('/'), 'FACES') + '\n'


def call(*arguments: str) -> str:
    """Run one of the project's scripts; return what it printed."""
    line = [sys.executable, *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f'{" ".join(line)}\n{done.stderr[-2000:]}')
    return f'$ python {" ".join(arguments)}\n{done.stdout}'


if __name__ == '__main__':
    main()
