"""Saves and restores everything a model needs to resume exactly where it stopped."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.weights_io import load_into

from . import ranks
from .checkpoints import rng_state
from .checkpoints.checkpointing import CheckpointFolder, folder_of
from .checkpoints.versions import installed_versions

_LOGGER = logging.getLogger('basicsr')


class TrainingState:
    """Saves a model's complete set and restores it.

    ``sources`` are further values for the state, such as the runner's place in the epoch.
    """

    def __init__(self, model: Any, keep: int) -> None:
        """Args: model: an MMRBGANModel; keep: recent sets to keep besides the best."""
        paths = model.opt['path']
        self._model = model
        self._folder = CheckpointFolder(Path(paths['models']), Path(paths['training_states']), keep)
        self._saved = -1
        self._validated: tuple[int, set[str]] = (-1, set())

    def save(self, epoch: int, iteration: int) -> None:
        """Write the set of ``iteration`` unless that is done; every rank calls it, the first one writes."""
        if self._saved == iteration:
            return
        state = self._capture(epoch, iteration)
        if ranks.rank_and_size()[0] == 0:
            self._folder.save(state, self._weights())
            self._folder.prune(self._best_iterations())
        self._saved = iteration

    def publish(self, iteration: int) -> None:
        """Copy the set of ``iteration`` to ``net_*_latest.pth``."""
        if ranks.rank_and_size()[0] == 0:
            self._folder.publish(iteration)

    def note_validation(self, iteration: int, name: str) -> None:
        """Keep the metrics of the validation of the dataset ``name`` with the set that was saved before it."""
        names = self._validated[1] if self._validated[0] == iteration else set()
        self._validated = iteration, names | {name}
        if ranks.rank_and_size()[0] == 0 and self._saved == iteration:
            self._folder.note_results(iteration, self._best(), self._validated[1])

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put networks, optimizers, scaler, generators and best metrics back.

        Raises:
            UsageError: the state is of other networks or optimizers than the options ask for.
        """
        model, iteration = self._model, state['iter']
        source = folder_of(Path(model.opt['path']['resume_state']))
        self._load_networks(source, iteration)
        self._load_optimizers(state['optimizers'])
        if state.get('scaler'):
            model.scaler.load_state_dict(state['scaler'])
        results, validated = source.results(iteration)
        model.best_metric_results = results or state.get('best_metrics') or {}
        self._restore_generators(state)
        self._saved, self._validated = iteration, (iteration, validated)

    def is_validated(self, iteration: int, name: str) -> bool:
        """Return whether the results of the dataset ``name`` at ``iteration`` are known."""
        return self._validated[0] == iteration and name in self._validated[1]

    def _capture(self, epoch: int, iteration: int) -> dict[str, Any]:
        model = self._model
        extra = {name: source() for name, source in model.state_sources.items()}
        return {
            'epoch': extra.get('place', {}).get('epoch', max(epoch, 0)),  # BasicSR's last save says -1
            'iter': iteration,
            'optimizers': [optimizer.state_dict() for optimizer in model.optimizers],
            'schedulers': [],
            'scaler': model.scaler.state_dict(),
            'rng': ranks.gather(rng_state.capture()),
            'best_metrics': self._best(),
            'options': model.opt,
            'versions': installed_versions(),
            **extra,
        }

    def _weights(self) -> dict[str, dict[str, Any]]:
        """Return what each network's file holds, in BasicSR's layout."""
        networks = self._model.networks
        held = {name: {'params': network.state_dict()} for name, network in networks.items() if name != 'net_g_ema'}
        held['net_g']['params_ema'] = networks['net_g_ema'].state_dict()
        return {name.removeprefix('net_'): content for name, content in held.items()}

    def _load_networks(self, folder: CheckpointFolder, iteration: int) -> None:
        for name, network in self._model.networks.items():
            label, key = ('net_g', 'params_ema') if name == 'net_g_ema' else (name, 'params')
            path = folder.models / f'{label}_{iteration}.pth'
            load_into(network, path, key)

    def _load_optimizers(self, stored: list[dict[str, Any]]) -> None:
        """Load the moments; rates and betas are those of the options, which may have been changed for the resume."""
        optimizers = self._model.optimizers
        if len(stored) != len(optimizers):
            raise UsageError(
                f'path.resume_state: the state has {len(stored)} optimizers and these options make {len(optimizers)}; '
                'resume with the loss terms it was saved with, or start from its weights by path.pretrain_network_g'
            )
        for optimizer, state in zip(optimizers, stored, strict=True):
            own = optimizer.state_dict()['param_groups']
            try:
                groups = [{**new, 'params': old['params']} for new, old in zip(own, state['param_groups'], strict=True)]
                optimizer.load_state_dict({**state, 'param_groups': groups})
            except ValueError as error:
                raise UsageError(f'path.resume_state: an optimizer belongs to other networks ({error})') from error

    def _restore_generators(self, state: Mapping[str, Any]) -> None:
        rank, size = ranks.rank_and_size()
        stored = state.get('rng') or []
        if len(stored) == size:
            rng_state.restore(stored[rank])
        else:
            _LOGGER.warning('The state has random numbers of %d processes, this run has %d', len(stored), size)

    def _best(self) -> dict[str, Any]:
        return dict(getattr(self._model, 'best_metric_results', {}))

    def _best_iterations(self) -> set[int]:
        """Return the iterations at which the first metric of a validation set was best."""
        firsts = (next(iter(record.values()), None) for record in self._best().values())
        return {first['iter'] for first in firsts if first}
