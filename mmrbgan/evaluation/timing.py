"""Seconds per face at 512 px (the paper's Table 6), for networks of ours and of others in one run."""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.atomic_files import write_text
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json
from mmrbgan_model.metrics.tensors import pick_device

from ..restoring.face_network import FaceNetwork
from ..running.options.run_yml import load_yml

FORMAT = 'mmrbgan-timing-1'
SIZE = 512  # pixels, the paper's Table 6
WARM_UP = 2  # passes that are not timed
DEFAULT_NETWORKS: dict[str, dict[str, Any]] = {
    'MMRBGAN 512 (random weights)': {'type': 'MMRBGAN', 'out_size': SIZE},
    'bicubic': {'type': 'MMRBGANClassical', 'method': 'bicubic'},
    'unsharp mask': {'type': 'MMRBGANClassical', 'method': 'unsharp'},
    'non-local means': {'type': 'MMRBGANClassical', 'method': 'nonlocal_means'},
}


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds per face of one network: the median of the timed passes and their quartiles."""

    method: str
    median: float
    low: float
    high: float
    repeats: int
    warm_up: int
    size: int
    device: str
    precision: str
    threads: int

    def __str__(self) -> str:
        return (
            f'{self.method}: {self.median:.4f} s per face of {self.size} px (quartiles {self.low:.4f} to '
            f'{self.high:.4f}, {self.repeats} passes after {self.warm_up}), {self.device}, {self.precision}, '
            f'{self.threads} threads'
        )


def time_networks(files: list[str], device: str, precision: str, repeats: int) -> list[Timing]:
    """Time ``network_g`` of each option file; without files, ours with random weights and the classical ones.

    Raises:
        UsageError: an option file without a network, one of another size, or one that cannot be built.
    """
    if repeats < 1:
        raise UsageError('--repeats: at least 1')
    networks = {Path(file).stem: _section(file) for file in files} or DEFAULT_NETWORKS
    return [_time(name, section, device, precision, repeats) for name, section in networks.items()]


def write_timings(path: Path, timings: list[Timing]) -> None:
    """Write the timings as JSON, making folders."""
    content = {'format': FORMAT, 'timings': [dataclasses.asdict(one) for one in timings]}
    write_text(path, json.dumps(content, indent=1) + '\n')


def read_timings(path: Path) -> list[Timing]:
    """Read what ``write_timings`` wrote.

    Raises:
        UsageError: another file.
    """
    try:
        return [Timing(**one) for one in parse_json(path.read_bytes())['timings']]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f'{path}: not a file of `mmrbgan evaluate --time` ({error})') from error


def _section(file: str) -> dict[str, Any]:
    options = load_yml(file)
    if not isinstance(options.get('network_g'), dict) or 'type' not in options['network_g']:
        raise UsageError(f'{file}: no network_g with a type; nothing to time')
    size = options['network_g'].get('out_size', SIZE)
    if size != SIZE:
        raise UsageError(f'{file}: network_g.out_size is {size}; --time is for networks of {SIZE} px, as the table is')
    return options['network_g']


def build(section: dict[str, Any]) -> nn.Module:
    """Build a registered network from its section of the yml."""
    import mmrbgan_arch.classical_arch
    import mmrbgan_arch.mmrbgan_arch
    import mmrbgan_arch.spandrel_arch  # noqa: F401

    arguments = {key: value for key, value in section.items() if key != 'type'}
    cls = basicsr_bridge.recorded('arch', section['type'])
    if cls is None:
        basicsr_bridge.connect()
        from basicsr.utils.registry import ARCH_REGISTRY

        if section['type'] not in ARCH_REGISTRY:
            raise UsageError(f'network_g.type: {section["type"]!r} is not registered')
        cls = ARCH_REGISTRY.get(section['type'])
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f'network_g: {error}') from error


@torch.inference_mode()
def _time(name: str, section: dict[str, Any], device_name: str, precision: str, repeats: int) -> Timing:
    device = pick_device(device_name)
    network = FaceNetwork(build(section), SIZE, device, precision, 1, release=True)
    face = torch.rand(1, 3, SIZE, SIZE, device=device, generator=None) * 2 - 1

    def once() -> Tensor:
        return network.restore(face)

    seconds = _measure(once, device, repeats)
    low, median, high = _quartiles(seconds)
    threads = torch.get_num_threads()
    return Timing(name, median, low, high, repeats, WARM_UP, SIZE, _describe(device), str(network.dtype)[6:], threads)


def _measure(once: Callable[[], Tensor], device: torch.device, repeats: int) -> list[float]:
    seconds = []
    for i in range(WARM_UP + repeats):
        _finish(device)
        start = time.perf_counter()
        once()
        _finish(device)
        if i >= WARM_UP:
            seconds.append(time.perf_counter() - start)
    return seconds


def _finish(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def _quartiles(seconds: list[float]) -> tuple[float, float, float]:
    if len(seconds) == 1:
        return seconds[0], seconds[0], seconds[0]
    low, median, high = statistics.quantiles(seconds, n=4, method='inclusive')
    return low, median, high


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else str(device)
