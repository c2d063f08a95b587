"""`mmrbgan export`: the generator as ONNX, TorchScript or safetensors, compared with the original before it counts.

Input and output are (batch, 3, size, size) RGB in [-1, 1], single aligned faces; the batch is free. The network draws
no noise, so there is nothing to fix.
"""

import argparse
import functools
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmrbgan_arch.support.atomic_files import write_bytes, writing
from mmrbgan_arch.support.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    Run = Callable[[Tensor], Tensor]

OPSET = 18
TOLERANCE = 1e-3  # of values in [-1, 1]; an eighth of a level of 255
TOLERANCE_HALF = 2e-2  # with weights of 11 significant bits
BATCHES = (1, 3)
SUFFIXES = {'onnx': '.onnx', 'torchscript': '.pt', 'safetensors': '.safetensors'}


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


def export(network: 'nn.Module', size: int, path: Path, file_format: str, half: bool = False) -> float:
    """Write ``network`` to ``path`` and return the largest difference of its outputs from the original's.

    Raises:
        UsageError: a package is missing, the file cannot be written, or the difference is above ``TOLERANCE``
            (``TOLERANCE_HALF`` with ``half``, which stores float16); what was at ``path`` is untouched then.
    """
    content, difference = _export_and_compare(network.eval(), size, file_format, half)
    tolerance = TOLERANCE_HALF if half else TOLERANCE
    if not difference <= tolerance:
        raise UsageError(f'{path}: differs from PyTorch by {difference:.1e}, more than {tolerance:g}; not written')
    with writing(path, 'make room or name another file with -o'):
        write_bytes(path, content)
    return difference


def _export_and_compare(network: 'nn.Module', size: int, file_format: str, half: bool) -> tuple[bytes, float]:
    """Return the file's content and the largest difference of what it computes."""
    import torch

    exporters: dict[str, Callable[[nn.Module, Tensor], tuple[bytes, Run]]] = {
        'onnx': export_onnx,
        'torchscript': export_torchscript,
        'safetensors': functools.partial(export_safetensors, half=half),
    }
    generator = torch.Generator().manual_seed(0)
    example = torch.rand(2, 3, size, size, generator=generator) * 2 - 1
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # the exporters' own deprecations, and that shapes become constants
        content, exported = exporters[file_format](network, example)
        return content, max(_difference(network, exported, size, batch, generator) for batch in BATCHES)


def export_onnx(network: 'nn.Module', example: 'Tensor') -> tuple[bytes, 'Run']:
    """Return ONNX with a free batch, and a function that runs it with onnxruntime."""
    import torch

    runtime = _import('onnxruntime')
    _import('onnx')
    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,  # type: ignore[arg-type]  # the older exporter writes to streams, too
        input_names=['input'],
        output_names=['output'],
        dynamic_axes={'input': {0: 'batch'}, 'output': {0: 'batch'}},
        opset_version=OPSET,
        dynamo=False,  # the older exporter needs no further package and is many times faster
    )
    session = runtime.InferenceSession(stream.getvalue(), providers=['CPUExecutionProvider'])
    return stream.getvalue(), lambda batch: torch.from_numpy(session.run(None, {'input': batch.numpy()})[0])


def export_torchscript(network: 'nn.Module', example: 'Tensor') -> tuple[bytes, 'Run']:
    """Return a traced TorchScript module as a file, and the module loaded from it."""
    import torch

    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(network, example, check_trace=False), stream)  # its own writer aborts on a full disk
    return stream.getvalue(), torch.jit.load(io.BytesIO(stream.getvalue()))


def export_safetensors(network: 'nn.Module', example: 'Tensor', half: bool = False) -> tuple[bytes, 'Run']:
    """Return the weights as a file, and the network that is rebuilt from it."""
    from safetensors.torch import load

    from mmrbgan_arch.weights_io import encode_safetensors, network_of

    state = network.state_dict()
    content = encode_safetensors({name: value.half() for name, value in state.items()} if half else state)
    return content, network_of(load(content), type(network).__name__).eval()


def _difference(network: 'nn.Module', exported: 'Run', size: int, batch: int, generator: 'torch.Generator') -> float:
    import torch

    faces = torch.rand(batch, 3, size, size, generator=generator) * 2 - 1
    return float((network(faces) - exported(faces)).abs().max())


def _import(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UsageError(f"ONNX needs {name}; `pip install 'mmrbgan[export]'`") from error
