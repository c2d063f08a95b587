"""Seconds per face at 512 px (the paper's section 5 and Table 6), for networks of ours and of others in one run.

The short form passes noise through each network a few times; the long one takes some hundred real faces at random, one
by one, and gives the restored ones' IFQA beside the seconds, as the paper's table does.
"""

import argparse
import dataclasses
import hashlib
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.atomic_files import sha256_of, write_text
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_arch.weights_io import load_into
from mmrbgan_data.images import ImageSource, UnreadableImageError
from mmrbgan_model.metrics.tensors import pick_device

from ..restoring.face_network import FaceNetwork
from ..running.options.run_yml import load_yml
from .metric_table import ImageMetric, MetricTable

FORMAT = 'mmrbgan-timing-1'
SIZE = 512  # pixels, the paper's Table 6
WARM_UP = 2  # passes that are not timed
SHORT, LONG = 5, 100  # timed passes: of noise, and of real faces
RANDOM_WEIGHTS = 'random weights'
DEFAULT_NETWORKS: dict[str, dict[str, Any]] = {
    'MMRBGAN 512 (random weights)': {'type': 'MMRBGAN', 'out_size': SIZE},
    'bicubic': {'type': 'MMRBGANClassical', 'method': 'bicubic'},
    'unsharp mask': {'type': 'MMRBGANClassical', 'method': 'unsharp'},
    'non-local means': {'type': 'MMRBGANClassical', 'method': 'nonlocal_means'},
}


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds per face of one network: the median of the timed passes and their quartiles.

    ``faces`` says what went through it, ``weights`` what it was filled with; ``ifqa`` is the restored faces' mean, and
    ``ifqa_missing`` why there is none.
    """

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
    faces: str = 'noise'
    weights: str = RANDOM_WEIGHTS
    ifqa: float | None = None
    ifqa_missing: str | None = None

    def __str__(self) -> str:
        ifqa = '' if self.ifqa is None else f', IFQA {self.ifqa:.4f}'
        return (
            f'{self.method}: {self.median:.4f} s per face of {self.size} px (quartiles {self.low:.4f} to '
            f'{self.high:.4f}, {self.repeats} passes after {self.warm_up}), {self.device}, {self.precision}, '
            f'{self.threads} threads, {self.faces}, {self.weights}{ifqa}'
        )


class TimedFaces:
    """The real faces of a folder in a random order that follows from the seed 0, read one by one.

    Args:
        folder: of faces of 512 px.
        count: passes; a smaller folder is gone through again.

    Raises:
        UsageError: no such folder, or no image in it.
    """

    def __init__(self, folder: str, count: int) -> None:
        self.source = ImageSource(folder, '--faces')
        order = random.Random(0).sample(range(len(self.source.names)), len(self.source.names))
        self.places = [order[i % len(order)] for i in range(count)]
        digest = hashlib.sha256('\n'.join(self.source.names[place] for place in self.places).encode()).hexdigest()
        self.words = f'{len(set(self.places))} faces of {self.source.root.name}, names {digest[:8]}'

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield RGB uint8 (512, 512, 3)."""
        for place in self.places:
            try:
                face = self.source.read(place)
            except UnreadableImageError as error:
                raise UsageError(f'--faces: {error}') from error
            if face.shape[:2] != (SIZE, SIZE):
                size = f'{face.shape[1]}x{face.shape[0]}'
                raise UsageError(f'--faces: {self.source.names[place]} is {size}; name a folder of faces of {SIZE} px')
            yield face


def time_networks(args: argparse.Namespace) -> Iterator[Timing]:
    """Time ``network_g`` of each option file in turn; without files, ours with random weights and the classical ones.

    Args:
        args: ``time``, ``faces``, ``repeats``, ``device``, ``precision`` and ``weights`` of `mmrbgan evaluate`.

    Raises:
        UsageError: an option file without a network, one of another size, one that cannot be built, or no faces.
    """
    repeats = (LONG if args.faces else SHORT) if args.repeats is None else args.repeats
    if repeats < 1:
        raise UsageError('--repeats: at least 1')
    networks = {Path(file).stem: _network(file) for file in args.time} or {
        name: (section, None) for name, section in DEFAULT_NETWORKS.items()
    }
    faces = TimedFaces(args.faces, repeats) if args.faces else None
    ifqa, missing = _ifqa(args)
    for name, (section, weights) in networks.items():
        timed = _Timed(name, section, weights, args)
        yield timed.with_noise(repeats) if faces is None else timed.with_faces(faces, ifqa, missing)


def _ifqa(args: argparse.Namespace) -> tuple[ImageMetric | None, str | None]:
    """Return IFQA, or why it is missing; nothing is fetched."""
    files = dict(entry.split('=', 1) for entry in args.weights if '=' in entry)
    chosen, left_out = MetricTable(files, args.device).choose(None, has_gt=False)
    return next((one for one in chosen if one.row.name == 'ifqa'), None), left_out.get('ifqa')


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
        return [read_options(Timing, one, 'timings') for one in parse_json(path.read_bytes())['timings']]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f'{path}: not a file of `mmrbgan evaluate --time` ({error})') from error


def _network(file: str) -> tuple[dict[str, Any], str | None]:
    """Return ``network_g`` of an option file, and its weights where they are here."""
    options = load_yml(file)
    if not isinstance(options.get('network_g'), dict) or 'type' not in options['network_g']:
        raise UsageError(f'{file}: no network_g with a type; nothing to time')
    size = options['network_g'].get('out_size', SIZE)
    if size != SIZE:
        raise UsageError(f'{file}: network_g.out_size is {size}; --time is for networks of {SIZE} px, as the table is')
    weights = (options.get('path') or {}).get('pretrain_network_g')
    return options['network_g'], weights if weights and Path(weights).is_file() else None


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
        network: nn.Module = cls(**arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f'network_g: {error}') from error
    return network


class _Timed:
    """A network that is being timed."""

    def __init__(self, name: str, section: dict[str, Any], weights: str | None, args: argparse.Namespace) -> None:
        self.name = name
        self.device = pick_device(args.device)
        network = build(section)
        self.weights = RANDOM_WEIGHTS
        if weights:
            load_into(network, weights)
            self.weights = f'{Path(weights).name} sha256 {sha256_of(weights)[:16]}'
        elif section['type'] != 'MMRBGAN':
            self.weights = 'its own weights' if list(network.parameters()) else 'no weights'
        self.network = FaceNetwork(network, SIZE, self.device, args.precision, 1, release=True)

    @torch.inference_mode()
    def with_noise(self, repeats: int) -> Timing:
        """Time passes of one random picture."""
        noise = torch.rand(1, 3, SIZE, SIZE, device=self.device) * 2 - 1
        seconds = [self._pass(noise)[1] for _ in range(WARM_UP + repeats)][WARM_UP:]
        return self._timing(seconds, 'noise')

    @torch.inference_mode()
    def with_faces(self, faces: TimedFaces, ifqa: ImageMetric | None, missing: str | None) -> Timing:
        """Time one pass of each face, the first ones once more beforehand, and score what comes out."""
        if self.weights == RANDOM_WEIGHTS:
            ifqa, missing = None, f'{self.name} has random weights'
        restored: list[np.ndarray] = []
        seconds: list[float] = []
        for face in tqdm(faces, self.name, len(faces.places), unit='face', disable=None):
            picture = torch.from_numpy(face).to(self.device).permute(2, 0, 1)[None].float() / 127.5 - 1
            for _ in range(WARM_UP if not seconds else 0):
                self._pass(picture)
            result, taken = self._pass(picture)
            seconds.append(taken)
            if ifqa:
                restored.append(_to_picture(result))
        timing = self._timing(seconds, faces.words)
        if ifqa is None:
            return dataclasses.replace(timing, ifqa_missing=missing)
        values = [float(ifqa.scores(one, None)['ifqa'][0]) for one in restored]  # afterwards, so as not to disturb
        return dataclasses.replace(timing, ifqa=statistics.fmean(values))

    def _pass(self, picture: Tensor) -> tuple[Tensor, float]:
        _finish(self.device)
        start = time.perf_counter()
        result = self.network.restore(picture)
        _finish(self.device)
        return result, time.perf_counter() - start

    def _timing(self, seconds: list[float], faces: str) -> Timing:
        low, median, high = _quartiles(seconds)
        return Timing(
            self.name,
            median,
            low,
            high,
            len(seconds),
            WARM_UP,
            SIZE,
            _describe(self.device),
            str(self.network.dtype)[6:],
            torch.get_num_threads(),
            faces,
            self.weights,
        )


def _to_picture(result: Tensor) -> np.ndarray:
    """(1, 3, h, w) in [-1, 1] -> RGB uint8 (1, h, w, 3)."""
    return result.float().clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()


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
