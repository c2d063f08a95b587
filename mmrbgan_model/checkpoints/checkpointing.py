"""Checkpoints in BasicSR's layout, each complete: a manifest, written last, lists every file.

The set of iteration N is ``models/net_*_N.pth`` (``params``, and ``params_ema`` for the generator),
``training_states/N.state`` and ``training_states/N.json``, the manifest, which names every file with its size and
SHA-256. A set without its manifest was interrupted and is not resumed from.
"""

import functools
import json
import logging
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from mmrbgan_arch.support.atomic_files import remove_partial_files, sha256_of
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import read_file

from .run_files import write_run_file

_LOGGER = logging.getLogger(__name__)
FORMAT = 'mmrbgan-1'
INTERRUPTED = 'it has no manifest, so its saving was interrupted'
_STATE_KEYS = {'epoch', 'iter', 'optimizers', 'schedulers'}


class _Manifest:
    """What a manifest says; anything that cannot be is an exception of reading it."""

    def __init__(self, content: dict[str, Any], iteration: int) -> None:
        self.content = content
        self.generation = int(content.get('generation', 0))  # 0: written before sets were counted
        self.files = {name: (int(told['bytes']), str(told['sha256'])) for name, told in content['files'].items()}
        states = [name for name in self.files if name == f'training_states/{iteration}.state']
        if content['iter'] != iteration or not states or not len(self.files) > 1:
            raise ValueError('of another set, or of no files')
        if any(not re.fullmatch(r'(models|training_states)/[^/]+', name) for name in self.files):
            raise ValueError('files outside the set')
        results = content.get('results')
        self.results = None if results is None else {name: _records(found) for name, found in results.items()}
        self.validated = set(map(str, content.get('validated', results or ())))


def _records(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a validation set's best metrics with their types made sure of."""
    return {
        metric: {
            'better': str(record.get('better', 'higher')),
            'val': float(record['val']),
            'iter': int(record['iter']),
        }
        for metric, record in found.items()
    }


class CheckpointFolder:
    """The checkpoints of one run: its folders ``models`` and ``training_states``."""

    def __init__(self, models: Path, states: Path, keep: int) -> None:
        """Args: models, states: the folders; keep: recent sets to keep besides the best; 0 keeps all."""
        self.models, self.states, self.keep = models, states, keep

    def save(self, state: dict[str, Any], weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the set of iteration ``state['iter']``, then prune.

        Args:
            state: training state of BasicSR's keys and ours; plain containers and tensors.
            weights: network label -> what its ``.pth`` holds.

        Raises:
            UsageError: the disk is full; earlier sets are untouched.
        """
        iteration = state['iter']
        self._manifest(iteration).unlink(missing_ok=True)
        files = [self._write(self.models / f'net_{label}_{iteration}.pth', held) for label, held in weights.items()]
        files.append(self._write(self.states / f'{iteration}.state', {**state, 'format': FORMAT}))
        generation = 1 + max(self._generations(self._iterations('*.json')).values(), default=0)
        told = {'format': FORMAT, 'iter': iteration, 'generation': generation, 'files': dict(map(_describe, files))}
        self._write_manifest(iteration, told)

    def publish(self, iteration: int) -> None:
        """Copy the weights of a set to ``net_*_latest.pth``, as BasicSR leaves them at the end of a run."""
        for path in self._weights(iteration):
            latest = path.with_name(path.name.replace(f'_{iteration}.pth', '_latest.pth'))
            with open(path, 'rb') as source:
                write_run_file(latest, functools.partial(shutil.copyfileobj, source))

    def is_complete(self, iteration: int) -> bool:
        """Say whether the set of ``iteration`` has its manifest."""
        return self._manifest(iteration).is_file()

    def note_results(self, iteration: int, results: Mapping[str, Any], validated: Iterable[str]) -> None:
        """Add the best metrics after a validation, which follows the save, and the names of the sets it had."""
        manifest = self._manifest_of(iteration)
        if manifest is not None:
            told = {**manifest.content, 'results': results, 'validated': sorted(validated)}
            self._write_manifest(iteration, told)

    def prune(self, best: set[int]) -> None:
        """Delete the sets that are neither among the last ``keep`` nor in ``best``; manifests go first."""
        for iteration in self._by_age(self._iterations('*.json'))[: -self.keep] if self.keep else ():
            if iteration not in best:
                self._manifest(iteration).unlink(missing_ok=True)
                for path in [self.states / f'{iteration}.state', *self._weights(iteration)]:
                    path.unlink(missing_ok=True)

    def newest(self) -> Path | None:
        """Return the state of the newest complete set; log why newer ones are skipped."""
        for folder in (self.models, self.states):
            remove_partial_files(folder)
        skipped: dict[int, str | None] = {}
        chosen = None
        for iteration in reversed(self._by_age(self._iterations('*.state'))):
            if chosen is None or iteration > chosen:  # of those without a manifest only what looks newer is told
                skipped[iteration] = self.fault(iteration)
                chosen = iteration if chosen is None and skipped[iteration] is None else chosen
        for iteration, fault in skipped.items():
            if fault is not None:
                _LOGGER.warning('The checkpoint of iteration %d is skipped: %s', iteration, fault)
        return None if chosen is None else self.states / f'{chosen}.state'

    def fault(self, iteration: int) -> str | None:
        """Say what is wrong with the set of ``iteration``, or return None; BasicSR's plain sets have no manifest."""
        if self.is_complete(iteration):
            return self._manifest_fault(iteration)
        try:
            state = load_state(self.states / f'{iteration}.state')
        except UsageError as error:
            return str(error)
        if state.get('format') == FORMAT:
            return INTERRUPTED
        return None if self._weights(iteration) else f'there is no {self.models}/net_*_{iteration}.pth'

    def _manifest_fault(self, iteration: int) -> str | None:
        manifest = self._manifest_of(iteration)
        if manifest is None:
            return f'{self._manifest(iteration)} is not readable, or of another set'
        for name, (size, digest) in manifest.files.items():
            path = self.states.parent / name
            if not path.is_file():
                return f'{path} is missing'
            if path.stat().st_size != size:
                return f'{path} has {path.stat().st_size} bytes instead of {size}'
            if sha256_of(path) != digest:
                return f'{path} was changed or damaged after it was written'
        return None

    def results(self, iteration: int) -> tuple[dict[str, Any] | None, set[str]]:
        """Return what ``note_results`` added to a set, if anything."""
        manifest = self._manifest_of(iteration)
        return (manifest.results, manifest.validated) if manifest else (None, set())

    def remove_interrupted(self) -> bool:
        """Delete what a run left that was killed before its first set was whole; say whether nothing else is here."""
        states = self._iterations('*.state')
        if any(self.states.glob('*.json')) or any(self.models.glob('*_latest.pth')):
            return False
        if any(self.fault(iteration) != INTERRUPTED for iteration in states):
            return False
        for path in [*(self.states / f'{iteration}.state' for iteration in states), *self.models.glob('net_*.pth')]:
            path.unlink(missing_ok=True)
        return True

    def _by_age(self, iterations: Iterable[int]) -> list[int]:
        """Order sets, oldest first, by the count of saves that their manifests keep: no clock can be trusted.

        A run that went back writes lower iterations with higher counts. A set that does not tell, such as BasicSR's,
        is older than those that do.
        """
        ages = self._generations(iterations := list(iterations))
        return sorted(iterations, key=lambda iteration: (ages.get(iteration, 0), iteration))

    def _generations(self, iterations: Iterable[int]) -> dict[int, int]:
        manifests = {iteration: self._manifest_of(iteration) for iteration in iterations}
        return {iteration: manifest.generation for iteration, manifest in manifests.items() if manifest}

    def _iterations(self, pattern: str) -> list[int]:
        """Return the numbers of the files in ``training_states`` that are called by an iteration."""
        return sorted(int(path.stem) for path in self.states.glob(pattern) if re.fullmatch(r'\d+', path.stem))

    def _manifest_of(self, iteration: int) -> '_Manifest | None':
        """Return a set's manifest; None where there is none or it is damaged."""
        try:
            return _Manifest(json.loads(self._manifest(iteration).read_bytes()), iteration)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None

    def _manifest(self, iteration: int) -> Path:
        return self.states / f'{iteration}.json'

    def _weights(self, iteration: int) -> list[Path]:
        return sorted(self.models.glob(f'net_*_{iteration}.pth'))

    def _write(self, path: Path, content: Mapping[str, Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_run_file(path, functools.partial(torch.save, content))
        return path

    def _write_manifest(self, iteration: int, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1).encode()
        write_run_file(self._manifest(iteration), lambda file: file.write(text))


def find_state(opt: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the training state that the options ask for, on the CPU, or None for a fresh start.

    ``auto_resume`` takes the newest whole set of the run's own folder, otherwise ``path.resume_state`` names one.
    ``opt['path']`` then points to the weights of that set.

    Raises:
        UsageError: the state that ``path.resume_state`` names cannot be used.
    """
    paths = opt['path']
    path = None
    if opt['auto_resume']:
        path = CheckpointFolder(Path(paths['models']), Path(paths['training_states']), 0).newest()
    path = path or (Path(paths['resume_state']) if paths.get('resume_state') else None)
    if path is None:
        if opt['auto_resume']:
            _LOGGER.warning('There is nothing to resume in %s; starting fresh', paths['training_states'])
        return None
    state = load_state(path)
    fault = folder_of(path).fault(state['iter']) if path.stem == str(state['iter']) else None
    if fault:
        raise UsageError(f'path.resume_state: {path}: {fault}; name another one or use --auto_resume')
    paths['resume_state'] = str(path)
    _use_weights(opt, state['iter'], folder_of(path).models)
    return state


def folder_of(state: Path, keep: int = 0) -> CheckpointFolder:
    """Return the checkpoint folder in which a ``.state`` lies."""
    return CheckpointFolder(state.parent.parent / 'models', state.parent, keep)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state to the CPU; only plain tensors and containers are accepted.

    Raises:
        UsageError: the file is missing or truncated, or not a plain training state.
    """
    state = dict(read_file(path))
    if not set(state) >= _STATE_KEYS:
        raise UsageError(f'{path}: not a training state of BasicSR (epoch, iter, optimizers, schedulers)')
    return state


def _describe(path: Path) -> tuple[str, dict[str, Any]]:
    """Return a file's entry in the manifest: name below the run's folder, size and SHA-256."""
    name = f'{path.parent.name}/{path.name}'
    return name, {'bytes': path.stat().st_size, 'sha256': sha256_of(path)}


def _use_weights(opt: Mapping[str, Any], iteration: int, models: Path) -> None:
    """Let the constructors load the weights of the set, whole and under ``params``, in place of pretrained ones."""
    paths = opt['path']
    for key in [key for key in paths if key.startswith('pretrain_network_')]:
        paths[key] = None
    for path in sorted(models.glob(f'net_*_{iteration}.pth')):
        label = path.name.removeprefix('net_').removesuffix(f'_{iteration}.pth')
        if f'network_{label}' not in (paths.get('ignore_resume_networks') or ()):
            paths[f'pretrain_network_{label}'] = str(path)
            paths[f'param_key_{label}'] = 'params'
            paths[f'strict_load_{label}'] = True
