"""The generator as ONNX, TorchScript or safetensors, compared with the original before it counts.

Input and output are (batch, 3, size, size) RGB in [-1, 1], single aligned faces; the batch is free. The network draws
no noise, so there is nothing to fix.
"""

import copy
import functools
import io
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

OPSET = 18  # of ONNX 1.13, which onnxruntime runs from 1.14 on
TOLERANCE = 1e-3  # of values in [-1, 1]; an eighth of a level of 255
TOLERANCE_HALF = 2e-2  # float16 weights
BATCHES = (1, 3)  # compared; neither is the example's, so that a fixed batch would be noticed
SUFFIXES = {'onnx': '.onnx', 'torchscript': '.pt', 'safetensors': '.safetensors'}


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
    content = _to_onnx(network, example)
    session = runtime.InferenceSession(content, providers=['CPUExecutionProvider'])
    return content, lambda batch: torch.from_numpy(session.run(None, {'input': batch.numpy()})[0])


def graph_without_weights(network: 'nn.Module', size: int) -> bytes:
    """Return ONNX whose weights are to be given by their names when it is opened (``OnnxNetwork`` does).

    Raises:
        UsageError: the package onnx is missing.
    """
    import torch

    onnx = _import('onnx')
    network = copy.deepcopy(network).eval()
    for value in network.state_dict().values():
        value.uniform_()  # the exporter would make one tensor of two that are alike
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        model = onnx.load_model_from_string(_to_onnx(network, torch.zeros(2, 3, size, size), fold=False))
    for tensor in model.graph.initializer:
        length = len(tensor.raw_data)
        tensor.ClearField('raw_data')
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (('location', 'given'), ('offset', '0'), ('length', str(length))):
            tensor.external_data.add(key=key, value=value)
    return bytes(model.SerializeToString())


def _to_onnx(network: 'nn.Module', example: 'Tensor', fold: bool = True) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.onnx.export(
        network,
        (example,),
        stream,  # type: ignore[arg-type]  # the older exporter writes to streams, too
        input_names=['input'],
        output_names=['output'],
        dynamic_axes={'input': {0: 'batch'}, 'output': {0: 'batch'}},
        opset_version=OPSET,
        do_constant_folding=fold,
        dynamo=False,  # the older exporter needs no further package and is many times faster
    )
    return stream.getvalue()


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
