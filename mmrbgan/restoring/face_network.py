"""Runs aligned faces through the network, in batches that fit into memory, in half precision where that is safe."""

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.memory import give_back_memory, keep_memory, separate_memory

if TYPE_CHECKING:
    from mmrbgan_arch.inference import InferenceMMRBGAN

_LOGGER = logging.getLogger(__name__)
Run = Callable[[Tensor], Tensor]

PRECISIONS = {'float32': torch.float32, 'float16': torch.float16, 'bfloat16': torch.bfloat16}
# Measured with tests/restoring/test_restore_network.py's tool: peak bytes per face are about this many feature maps
# of full size.
MAPS_PER_FACE = 12
CPU_BUDGET, MAX_BATCH = 2 * 2**30, 32


def pick_device(name: str) -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: it is unknown or not available.
    """
    if name == 'auto':
        found = 'cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu'
        return torch.device(found)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f'--device {name}: not usable here ({reason}); take cpu or auto') from error
    return device


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the precision called ``name``; ``auto`` takes bfloat16 where the hardware multiplies it, else float32.

    Raises:
        UsageError: it is unknown.
    """
    if name == 'auto':
        return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise UsageError(f'--precision {name}: known are auto, {", ".join(PRECISIONS)}')
    return PRECISIONS[name]


def multiplies_bfloat16(device: torch.device) -> bool:
    """Say whether the device has matrix instructions for bfloat16: AVX512-BF16, AMX, or a GPU since Ampere."""
    if device.type == 'cuda':
        return torch.cuda.get_device_capability(device) >= (8, 0)
    checks = ('_is_avx512_bf16_supported', '_is_amx_tile_supported')  # not in every torch
    return device.type == 'cpu' and any(getattr(torch.cpu, check, lambda: False)() for check in checks)


class FaceNetwork:
    """A restoring network, ready for faces of its own size.

    Args:
        network: takes and returns (b, 3, size, size) RGB in [-1, 1]; if it has ``prepare_for_inference``, that runs.
        size: side of its faces in pixels.
        device: where it runs.
        precision: a key of ``PRECISIONS``, or auto: bfloat16 where the hardware multiplies it, else float32.
        batch: faces at once; None: as many as fit, 32 at most.
        compile: let torch.compile write kernels at the first face (docs/performance.md says whether it pays).
        release: the network is used for nothing else, so that its memory may be freed.

    Raises:
        UsageError: an unknown precision or a batch below 1.
    """

    engine = 'torch'

    def __init__(
        self,
        network: nn.Module,
        size: int,
        device: torch.device,
        precision: str = 'auto',
        batch: int | None = None,
        *,
        compile: bool = False,
        release: bool = False,
    ) -> None:
        self.dtype = pick_precision(precision, device)
        if batch is not None and batch < 1:
            raise UsageError(f'--batch {batch}: must be at least 1')
        self.size = size
        self.device = device
        self.batch = batch or batch_that_fits(network, size, device)
        self.runs = self._last_batch = 0
        self.compile = compile
        network = network.to(device).eval()
        if device.type == 'cpu':
            separate_memory()
        self._prepared: InferenceMMRBGAN | None = None
        # float16 may overflow, weights and all; then the network is needed again. bfloat16 has float32's range.
        self._exact = network if self.dtype == torch.float16 else None
        self.network = self._ready(network, release and self._exact is None)

    def _ready(self, network: nn.Module, release: bool = False) -> Run:
        """Return the network as it runs fastest in the present precision."""
        run: Run = network
        if prepare := getattr(network, 'prepare_for_inference', None):
            # The compiler fuses what Winograd's method splits, so that it gets the plain convolutions.
            run = self._prepared = prepare(self.dtype, False if self.compile else None, release=release)
        if self.compile:
            run = torch.compile(run, mode='reduce-overhead' if self.device.type == 'cuda' else 'default')
        return run

    def __call__(self, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Restore faces (size, size, 3) float32 RGB in [0, 1] -> the same shapes.

        A batch that does not fit into memory is halved, for good.

        Raises:
            UsageError: not even one face fits, or the weights give NaN.
        """
        restored: list[np.ndarray] = []
        while len(restored) < len(faces):
            some = faces[len(restored) : len(restored) + self.batch]
            try:
                restored += self._run(some)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                self._halve(error, len(some))
        return restored

    def _run(self, faces: Sequence[np.ndarray]) -> list[np.ndarray]:
        batch = torch.from_numpy(np.stack(faces)).permute(0, 3, 1, 2).to(self.device) * 2 - 1
        result = self.restore(batch)
        pictures = result.float().clamp(-1, 1).add(1).div(2).permute(0, 2, 3, 1)
        return list(pictures.contiguous().cpu().numpy())

    @torch.inference_mode()
    def restore(self, batch: Tensor) -> Tensor:
        """(b, 3, size, size) RGB in [-1, 1] on the device -> the same shape; in float32 from the first overflow on.

        Raises:
            UsageError: the weights give NaN.
        """
        if self.device.type == 'cpu' and len(batch) != self._last_batch:
            give_back_memory()  # memory kept for maps of other sizes would pile up
            self._last_batch = len(batch)
        result = self._forward(batch, self.dtype)
        if self.dtype != torch.float32 and not torch.isfinite(result).all():
            _LOGGER.warning('%s overflows with these weights; going on in float32', self.dtype)
            self._go_exact()
            result = self._forward(batch, self.dtype)
        if not torch.isfinite(result).all():
            raise UsageError('the network returns NaN or infinite values; its weights are damaged')
        self.runs += 1
        if self.runs == 1 and self.device.type == 'cpu':
            keep_memory()  # every face allocates the same sizes, on top of what libraries set up for the first
        return result

    def _go_exact(self) -> None:
        self.dtype = torch.float32
        if self._exact is not None:
            self.network, self._exact = self._ready(self._exact), None
        elif self._prepared is not None:
            self._prepared.in_float32()

    def _forward(self, batch: Tensor, dtype: torch.dtype) -> Tensor:
        plain = self._prepared is None
        with torch.autocast(self.device.type, dtype=dtype, enabled=plain and dtype != torch.float32):
            return self.network(batch)

    def _halve(self, error: Exception, tried: int) -> None:
        if not is_out_of_memory(error):
            raise error
        if tried == 1:
            raise UsageError(
                f'out of memory with a single face of {self.size} px; try --device cpu or --precision'
            ) from error
        self.batch = tried // 2
        if self.device.type == 'cuda':
            torch.cuda.empty_cache()
        _LOGGER.warning('out of memory; going on with batches of %d', self.batch)


def is_out_of_memory(error: Exception) -> bool:
    """Say whether ``error`` is a device's or the machine's 'out of memory'."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(words in str(error) for words in ("can't allocate memory", 'not enough memory', 'out of memory'))


def batch_that_fits(network: nn.Module, size: int, device: torch.device) -> int:
    """Return how many faces fit: into 2 GiB on a CPU, into half of a GPU's free memory."""
    budget = torch.cuda.mem_get_info(device)[0] // 2 if device.type == 'cuda' else CPU_BUDGET
    return max(1, min(MAX_BATCH, budget // bytes_per_face(network, size)))


def bytes_per_face(network: nn.Module, size: int) -> int:
    """Estimate the memory of one face from the width at the full size, that is the first convolution's."""
    first = next((weight for weight in network.parameters() if weight.ndim == 4), None)
    width = first.shape[0] if first is not None else 3
    return MAPS_PER_FACE * width * size * size * 4
