"""Runs aligned faces through the network by onnxruntime: nobody waits for torch, which need not even be installed.

What ships is a graph without weights; they are read from the .safetensors file beside it.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from .default_weights import graph_of

ENGINES = ('auto', 'torch', 'onnx')
PIXELS_AT_ONCE = 8 * 128 * 128  # larger batches are no faster
TRAINING_ONLY = 'decoder.to_rgbs.'  # tensors of the pyramid loss, which the graph leaves out
GPUS = ('/dev/nvidiactl', '/dev/dxg', '/dev/kfd')


def pick_engine(
    name: str, weights: Path, device: str = 'auto', precision: str = 'auto', needs_torch: bool = False
) -> str:
    """Return torch or onnx; ``auto`` takes onnxruntime where it does the same and the start is sooner.

    That is, where it is installed, the weights have a graph, nothing else asks for torch, and no GPU may be here; or
    where torch is not installed.

    Raises:
        UsageError: an unknown name, or weights, device or precision that do not go with the engine.
    """
    if name not in ENGINES:
        raise UsageError(f'--engine {name}: known are {", ".join(ENGINES)}')
    fits = device in ('auto', 'cpu') and precision in ('auto', 'float32')
    if name == 'auto':
        quick = fits and not needs_torch and 'torch' not in sys.modules and not (device == 'auto' and may_have_a_gpu())
        quick = quick and graph_of(weights).is_file() and importlib.util.find_spec('onnxruntime') is not None
        name = 'onnx' if quick or importlib.util.find_spec('torch') is None or weights.suffix == '.onnx' else 'torch'
    if name == 'torch' and weights.suffix == '.onnx':
        raise UsageError(f'--engine torch does not run {weights}; take --engine onnx')
    if name == 'onnx' and not fits:
        raise UsageError(
            f'--engine onnx computes on the CPU in float32; found --device {device} --precision {precision}'
        )
    return name


def may_have_a_gpu() -> bool:
    """Say whether torch might find a GPU, without asking it."""
    return sys.platform == 'darwin' or any(map(os.path.exists, GPUS)) or shutil.which('nvidia-smi') is not None


class OnnxNetwork:
    """A restoring network in ONNX, on the CPU, in float32; called as ``FaceNetwork`` is.

    Args:
        weights: .onnx as `mmrbgan export` writes it, or .safetensors with its graph, NAME.graph.onnx, beside it.
        batch: faces at once; None: a few, one of 512 px.

    Raises:
        UsageError: onnxruntime is not installed, the file is not such a network, or a batch below 1.
    """

    engine, dtype = 'onnxruntime', 'float32'

    def __init__(self, weights: Path, batch: int | None = None) -> None:
        if batch is not None and batch < 1:
            raise UsageError(f'--batch {batch}: must be at least 1')
        if not graph_of(weights).is_file():
            raise UsageError(
                f'{weights}: has no ONNX graph; write one with `mmrbgan export --weights {weights} -o NAME.onnx` and '
                'give --weights NAME.onnx, or take --engine torch'
            )
        self._session = _open(weights)
        self.size = _size_of(self._session, weights)
        self.batch = batch or max(1, PIXELS_AT_ONCE // self.size**2)

    def __call__(self, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Restore faces (size, size, 3) float32 RGB in [0, 1] -> the same shapes.

        Raises:
            UsageError: the weights give NaN.
        """
        starts = range(0, len(faces), self.batch)
        return [face for start in starts for face in self._run(faces[start : start + self.batch])]

    def _run(self, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = np.ascontiguousarray(np.stack(faces).transpose(0, 3, 1, 2)) * 2 - 1
        (restored,) = self._session.run(None, {self._session.get_inputs()[0].name: batch})
        if not np.isfinite(restored).all():
            raise UsageError('the network returns NaN or infinite values; its weights are damaged')
        return list(np.ascontiguousarray((restored.clip(-1, 1) + 1) / 2).transpose(0, 2, 3, 1))


def _open(weights: Path) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise UsageError('restoring without torch needs onnxruntime; `pip install onnxruntime`') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _threads()
    options.log_severity_level = 3
    if weights.suffix != '.onnx':
        tensors = _tensors(weights)
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in tensors.values()]
        options.add_external_initializers(list(tensors), values)
    graph = graph_of(weights)
    try:
        return onnxruntime.InferenceSession(graph.read_bytes(), options, providers=['CPUExecutionProvider'])
    except Exception as error:  # onnxruntime's own classes, one for each status
        reason = ' '.join(str(error).split())
        raise UsageError(f'{graph}: damaged, or not the network of {weights.name} ({reason})') from error


def _tensors(weights: Path) -> dict[str, np.ndarray]:
    """Return what the graph takes from the file of weights, as float32."""
    from safetensors.numpy import load_file

    state = load_file(weights)
    return {name: state[name].astype(np.float32) for name in sorted(state) if not name.startswith(TRAINING_ONLY)}


def _size_of(session: Any, weights: Path) -> int:
    shapes = [each.shape for each in (*session.get_inputs(), *session.get_outputs())]
    size = shapes[0][-1] if len(shapes) == 2 and len(shapes[0]) == 4 else None
    if not isinstance(size, int) or any(list(shape[1:]) != [3, size, size] for shape in shapes):
        raise UsageError(f'{weights}: takes no faces (batch, 3, size, size); give what `mmrbgan export` writes')
    return size


def _threads() -> int:
    """Return how many threads to use: OMP_NUM_THREADS, as torch does, else one for each core that is ours."""
    wanted = os.environ.get('OMP_NUM_THREADS', '')
    ours = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    return int(wanted) if wanted.isdigit() and int(wanted) else ours
