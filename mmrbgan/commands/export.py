"""`mmrbgan export`: the generator as ONNX, TorchScript or safetensors."""

import argparse
import os
import sys
from pathlib import Path

from mmrbgan_arch.support.errors import UsageError

from ..bridges.onnx_export import BATCHES, SUFFIXES, export


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `mmrbgan export`."""
    parser.add_argument('--weights', metavar='FILE|NAME', help='what to export (default: the weights that ship)')
    parser.add_argument('--format', choices=sorted(SUFFIXES), default='onnx', help='(default: %(default)s)')
    parser.add_argument('--half', action='store_true', help='half the bytes per weight; safetensors only')
    parser.add_argument('-o', '--output', metavar='FILE', help="(default: mmrbgan_SIZE with the format's suffix)")


def run(args: argparse.Namespace) -> int:
    """Export and compare; return 0.

    Raises:
        UsageError: a package is missing, ``--half`` with another format, an output that does not fit or cannot be
            written, or the exported network computes something else (nothing is written then).
    """
    from mmrbgan_arch import MMRBGAN
    from mmrbgan_arch.weights_io import load_network

    from ..restoring.default_weights import choose_weights

    if args.half and args.format != 'safetensors':
        raise UsageError(f'--half: known for --format safetensors alone; found {args.format}')
    weights = choose_weights(args.weights)
    network = load_network(weights)
    if not isinstance(network, MMRBGAN):
        raise UsageError(f'{weights}: holds {type(network).__name__}; only MMRBGAN can be exported')
    path = Path(args.output or f'mmrbgan_{network.out_size}{SUFFIXES[args.format]}')
    _check_output(path, weights, args.format)
    difference = export(network, network.out_size, path, args.format, args.half)
    size = path.stat().st_size / 2**20
    sys.stdout.write(
        f'{path}: {args.format}, {size:.1f} MiB, (batch, 3, {network.out_size}, {network.out_size}) RGB in [-1, 1]; '
        f'largest difference from PyTorch {difference:.1e} (batches of {" and ".join(map(str, BATCHES))})\n'
    )
    return 0


def _check_output(path: Path, weights: Path, file_format: str) -> None:
    """Make the folder of ``path``.

    Raises:
        UsageError: it cannot be made, or ``path`` is a folder, the weights themselves, or named like another format.
    """
    if os.path.isdir(path):
        raise UsageError(f'-o {path}: is a folder; name a file')
    if os.path.exists(path) and path.samefile(weights):
        raise UsageError(f'-o {path}: is the file of the weights; name another one')
    if path.suffix != SUFFIXES[file_format]:
        raise UsageError(f'-o {path}: a file of --format {file_format} ends in {SUFFIXES[file_format]}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f'-o {path}: {error.strerror}; name a file that can be written') from error
