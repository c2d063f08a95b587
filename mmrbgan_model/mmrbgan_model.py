"""MMRBGAN's training as a BasicSR model (paper 3.3, 4.2): a step is forward, generator, discriminators, EMA."""

import copy
import functools
import inspect
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from mmrbgan_arch import MMRBGANArcFace, basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.memory import keep_memory
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.weights_io import load_into
from mmrbgan_data.components import COMPONENTS, Component

from . import finite_guard, loss_terms, phases, ranks, speed
from .checkpoints import rng_state
from .loss_terms import GeneratorTerm, Step
from .metric_entries import available
from .metrics.metric_options import complete
from .options import Term, TrainOptions
from .perceptual import build_feature_maps
from .phases import Phase
from .run_clock import RunClock
from .step_graph import StepGraphs
from .training_state import TrainingState
from .validation import Validator, picture_name, validate, write_picture

basicsr_bridge.connect()

from basicsr.archs import build_network  # noqa: E402
from basicsr.models.base_model import BaseModel  # noqa: E402

_LOGGER = logging.getLogger('basicsr')


@basicsr_bridge.register_model
class MMRBGANModel(BaseModel):  # type: ignore[misc]
    """Trains and tests MMRBGAN; every network of the run is in ``networks`` by its name in files and options."""

    settings: TrainOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        """Build the networks of ``opt`` and load their weights.

        Raises:
            UsageError: an option or a weights file that does not fit, named with the way out.
        """
        super().__init__(opt)
        self.networks: dict[str, nn.Module] = {}
        self.lq: Tensor
        self.gt: Tensor | None = None
        self.log_dict: Mapping[str, float] = OrderedDict()
        if self.is_train:
            self.settings = read_options(TrainOptions, opt['train'], 'train')
        metrics = (opt.get('val') or {}).get('metrics') or {}
        self.metrics = available(metrics, may_miss=not self.is_train)  # fail now on a broken metric, not after hours
        self._new_validator()
        self._add_network('net_g', opt['network_g'])
        if self.is_train:
            self._init_training()
        else:
            self.networks['net_g'].eval()

    # Construction

    def _init_training(self) -> None:
        if self.device.type == 'cpu':
            keep_memory()
        self._add_networks()
        self.phases = self._phases()
        self.train_mode()
        ranks.copy_first(self.networks.values())
        self.scaler = speed.grad_scaler(self.settings.amp, self.device)
        self.step_graphs = self._step_graphs() if self.settings.cuda_graph and self.device.type == 'cuda' else None
        self.iteration = 0
        self.clock = RunClock(self.settings.total_iter, self.settings.time_limit)
        self.state_sources: dict[str, Callable[[], Any]] = {'clock': self.clock.state}
        self.training_state = TrainingState(self, self.settings.keep_checkpoints)

    def _step_graphs(self) -> StepGraphs:
        if ranks.rank_and_size()[1] > 1:
            raise UsageError('train.cuda_graph: one process only; leave it out, or start one process')
        return StepGraphs(self._gradients, [parameter for phase in self.phases for parameter in phase.parameters])

    def _add_network(self, name: str, options: Mapping[str, Any]) -> None:
        """Build a network, load its ``path.pretrain_network_*`` and put it on the device."""
        try:
            network = build_network(copy.deepcopy(options))
        except (TypeError, ValueError) as error:
            raise UsageError(f'{name.replace("net_", "network_")}: {error}') from error
        if hasattr(network, 'load_weights'):  # its own: a file that is none is told before a folder is made
            network.load_weights()
        self._load_pretrained(network, name.removeprefix('net_'))
        self.networks[name] = network.to(self.device)
        if self.is_train:
            self._speed_up(self.networks[name])

    def _speed_up(self, network: nn.Module) -> None:
        """Apply ``train.channels_last``, ``grad_checkpointing`` and ``compile``; the state dict stays as it is."""
        if self.settings.channels_last:
            network.to(memory_format=torch.channels_last)
        if self.settings.grad_checkpointing:
            speed.recompute_activations(network)
        if self.settings.compile:
            network.compile()

    def _load_pretrained(self, network: nn.Module, short: str) -> None:
        paths = self.opt['path']
        option = f'path.pretrain_network_{short}'
        path = paths.get(f'pretrain_network_{short}')
        if path is None:
            return
        try:
            load_into(network, path, paths.get(f'param_key_{short}'), paths.get(f'strict_load_{short}', True))
        except UsageError as error:
            raise UsageError(f'{option}: {error}') from error
        _LOGGER.info('Loaded %s from %s', network.__class__.__name__, path)

    def _add_networks(self) -> None:
        """All but the generator; its moving average starts as its copy."""
        settings = self.settings
        self.networks['net_g_ema'] = copy.deepcopy(self.networks['net_g']).eval().requires_grad_(False)
        if settings.gan_opt is not None:
            if 'network_d' not in self.opt:
                raise UsageError(
                    'train.gan_opt needs network_d: {type: MMRBGANDiscriminator, ...}, or remove train.gan_opt'
                )
            self._add_network('net_d', self.opt['network_d'])
        if settings.component_opt is not None:
            options = self.opt.get('network_d_component', {'type': 'MMRBGANComponentDiscriminator'})
            for component in COMPONENTS:
                self._add_network(f'net_d_{component.name}', options)

    def _terms(self) -> list[GeneratorTerm]:
        """Eq. 16 as a list."""
        sources = loss_terms.Sources(
            features=lambda options: build_feature_maps(options).to(self.device),
            recogniser=lambda options: self._build_recogniser(options.weights),
            discriminator=self.networks.get('net_d'),
            component_nets={c.name: net for c in COMPONENTS if (net := self.networks.get(f'net_d_{c.name}'))},
        )
        return loss_terms.build_terms(self.settings, sources)

    def _phases(self) -> list[Phase]:
        """What each step does, in this order; their optimizers are stored in this order, too."""
        settings, networks = self.settings, self.networks
        critics = [network for name, network in networks.items() if name.startswith('net_d')]
        adam = self._add_optimizer(self._generator_groups(), settings.optim_g.betas)
        steps = [Phase('generator', adam, phases.generator(self._terms()), fixed=critics)]
        if settings.gan_opt:
            adam = self._add_optimizer(self._group('d', 'net_d', settings.optim_d.lr), settings.optim_d.betas)
            float32 = functools.partial(speed.autocast, None, self.device)
            loss = phases.discriminator(networks['net_d'], settings.gan_opt, settings.r1_opt, float32)
            steps.append(Phase('discriminator', adam, loss))
        if settings.component_opt:
            steps += [self._component_phase(component, settings.component_opt) for component in COMPONENTS]
        return steps

    def _component_phase(self, component: Component, options: Term) -> Phase:
        name, optim = f'net_d_{component.name}', self.settings.optim_component
        adam = self._add_optimizer(self._group(component.name, name, optim.lr), optim.betas)
        loss = phases.component_discriminator(self.networks[name], component, options)
        return Phase(component.name, adam, loss)

    def _build_recogniser(self, weights: str | None) -> nn.Module:
        way_out = 'remove train.identity_opt to train without this term'
        option = 'train.identity_opt.weights'
        network = build_network(copy.deepcopy(self.opt.get('network_identity', {'type': 'MMRBGANArcFace'})))
        path: str | Path | None = weights
        if isinstance(network, MMRBGANArcFace):
            path = find_weights(FILES['arcface'], weights, option, way_out)
        elif path is None:
            raise UsageError(f'{option}: missing; name the weights file of {type(network).__name__}, or {way_out}')
        try:
            loaded: nn.Module = load_into(network, path).to(self.device)
        except UsageError as error:
            raise UsageError(f'{option}: {error}; or {way_out}') from error
        return loaded

    def _generator_groups(self) -> list[dict[str, Any]]:
        """The generator's three groups with their own rates (paper 4.2); a rate of 0 is fixed.

        Raises:
            UsageError: a generator that has no such groups, or gives no pyramid.
        """
        generator, optim = self.networks['net_g'], self.settings.optim_g
        named = getattr(generator, 'parameter_groups', None)
        if named is None or 'return_pyramid' not in inspect.signature(generator.forward).parameters:
            raise UsageError(
                f'network_g: MMRBGANModel cannot train {type(generator).__name__}; it needs parameter_groups() with '
                'codec, prior and noise, and forward(x, return_pyramid=True); train others with model_type: SRModel'
            )
        rates = {'codec': optim.lr_codec, 'prior': optim.lr_prior, 'noise': optim.lr_noise}
        groups = []
        for name, parameters in named().items():
            for parameter in parameters:
                parameter.requires_grad_(rates[name] > 0)
            groups.append({'params': parameters, 'lr': rates[name], 'name': name})
        return groups

    def _group(self, name: str, network: str, rate: float) -> list[dict[str, Any]]:
        parameters = [parameter for parameter in self.networks[network].parameters() if parameter.requires_grad]
        return [{'params': parameters, 'lr': rate, 'name': name}]

    def _add_optimizer(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> torch.optim.Optimizer:
        optimizer = torch.optim.Adam(groups, betas=betas, fused=self.settings.fused_adam)
        for group in optimizer.param_groups:
            group['initial_lr'] = group['lr']
        self.optimizers.append(optimizer)
        return optimizer

    def train_mode(self) -> None:
        """All trained networks to training mode; the moving average stays in evaluation mode."""
        for name, network in self.networks.items():
            network.train(name != 'net_g_ema')

    # One step

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Set every group's rate from the place in the schedule alone, so that resuming cannot shift it."""
        self.clock.advance(current_iter)
        factor = self.settings.rate_factor(self.clock.place)
        for group in itertools.chain.from_iterable(optimizer.param_groups for optimizer in self.optimizers):
            group['lr'] = group['initial_lr'] * factor

    def get_current_learning_rate(self) -> list[float]:
        """The rates of codec, prior, noise branches, global D and one local D, in that order, as far as they exist."""
        groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]
        repeated = {component.name for component in COMPONENTS[1:]}
        return [group['lr'] for group in groups if group['name'] not in repeated]

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch: ``lq``, and where known ``gt``, ``component_boxes`` and ``component_mask``."""
        self.files = [str(path) for path in data.get('gt_path', data.get('lq_path', ()))]
        self.lq = self._to_device(data['lq'])
        self.gt = self._to_device(data['gt']) if 'gt' in data else None
        if self.is_train:
            boxes, shape = data.get('component_boxes'), (self.lq.shape[0], len(COMPONENTS))
            self.boxes = self._to_device(torch.zeros(*shape, 4) if boxes is None else boxes)
            mask = data.get('component_mask')
            self.mask = self._to_device(torch.zeros(shape, dtype=torch.bool) if mask is None else mask)

    def _to_device(self, tensor: Tensor) -> Tensor:
        images_last = tensor.ndim == 4 and self.is_train and self.settings.channels_last
        layout = torch.channels_last if images_last else torch.preserve_format
        return tensor.to(self.device, non_blocking=True, memory_format=layout)

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration (counted from 1): every gradient, one check of them all, then every step."""
        self.iteration = current_iter
        self.clock.advance(current_iter)
        batch = self._batch()
        log = self.step_graphs(batch, self._pattern()) if self.step_graphs else self._gradients(batch)
        self._share_and_check(log)
        self._step_optimizers()
        self._update_ema()

    def _gradients(self, batch: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Leave every phase's gradients in its parameters; return what goes into the log."""
        log: dict[str, Tensor] = {}
        for phase in self.phases:
            phase.optimizer.zero_grad(set_to_none=True)
        for part in speed.parts(batch, self.settings.accumulate):
            with speed.autocast(self.settings.amp, self.device):
                step = self._forward(self.clock.place, part)
                for phase in self.phases:
                    for name, value in phase.backward(step, self.scaler, self.settings.accumulate).items():
                        log[name] = log.get(name, 0) + value
        return log

    def _pattern(self) -> tuple[bool, ...]:
        """Which losses this iteration computes."""
        terms, r1, place = self.settings.generator_terms().values(), self.settings.r1_opt, self.clock.place
        penalised = r1 is not None and r1.active(place) and self.iteration % r1.interval == 0
        return *(term.active(place) for term in terms), penalised

    def _batch(self) -> dict[str, Tensor | None]:
        return {'lq': self.lq, 'gt': self.gt, 'boxes': self.boxes, 'mask': self.mask}

    def _forward(self, place: int, part: Mapping[str, Any]) -> Step:
        output, pyramid = self.networks['net_g'](part['lq'], return_pyramid=True)
        images = output.to(part['lq'].dtype), [level.to(part['lq'].dtype) for level in pyramid]
        return Step(place, part['lq'], part['gt'], part['boxes'], part['mask'], *images, number=self.iteration)

    def _share_and_check(self, log: Mapping[str, Tensor]) -> None:
        """Average the gradients over the processes; stop before the step if anything is not finite."""
        values = dict(log)
        for phase in self.phases:
            ranks.average_gradients(phase.parameters)
            size = None if self.scaler.is_enabled() else finite_guard.gradient_size(phase.optimizer)
            if size is not None:
                values[f'gradient of the {phase.name}'] = size
        numbers = finite_guard.to_floats(values)
        faults = finite_guard.not_finite(numbers)
        if faults:
            folder = Path(self.opt['path']['experiments_root'])
            finite_guard.stop_run(faults, self.iteration, self.files, self._batch(), folder)
        self.log_dict = {name: numbers[name] for name in log}

    def _step_optimizers(self) -> None:
        """Step every optimizer that has gradients; with fp16 a step whose gradients overflowed is left out."""
        for phase in self.phases:
            if any(parameter.grad is not None for parameter in phase.parameters):
                self.scaler.step(phase.optimizer)
        self.scaler.update()
        every = self.settings.check_ranks_every
        if every and self.iteration % every == 0 and (names := ranks.differing(self.networks)):
            raise RuntimeError(f'iteration {self.iteration}: the processes differ in {", ".join(names)}')

    def get_current_log(self) -> dict[str, float]:
        """The iteration's losses, averaged over the processes; every process asks together."""
        return ranks.average_values(self.log_dict)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the average towards the generator: parameters by the decay, buffers as they are."""
        average, current = self.networks['net_g_ema'], self.networks['net_g']
        move = get_ema_multi_avg_fn(self.settings.ema_decay)
        move(list(average.parameters()), list(current.parameters()), 0)
        for old, new in zip(average.buffers(), current.buffers(), strict=True):
            old.copy_(new)

    # Validation and testing

    @property
    def restorer(self) -> nn.Module:
        """The network that restores: the moving average in training, the loaded weights in testing."""
        return self.networks.get('net_g_ema', self.networks['net_g'])

    def validation(self, dataloader: Any, current_iter: Any, tb_logger: Any, save_img: bool = False) -> None:
        """Restore and score a loader's faces; ``current_iter`` is the run's name in a test, as BasicSR has it."""
        name, validator = dataloader.dataset.opt['name'], self._new_validator()
        if self.is_train:
            current_iter = min(current_iter, self.iteration)  # BasicSR's loop counts one too many at its end
        folder = Path(self.opt['path']['visualization'])

        def save(path: str, picture: np.ndarray) -> None:
            face = picture_name(path, dataloader.dataset.opt)
            write_picture(self._picture_path(folder, name, face, current_iter), picture)

        restore = self.restorer.eval()
        with rng_state.preserved():  # what is drawn for a validation must not change the training after it
            outcome = validate(
                lambda lq: restore(lq.to(self.device)), dataloader, validator, save if save_img else None, name
            )
        _LOGGER.info(outcome.line(name))
        if outcome.sheet is not None and ranks.rank_and_size()[0] == 0:
            path = folder / f'sheet_{name}_{current_iter}.png'
            write_picture(path, outcome.sheet)
            _LOGGER.info('Sheet (input | restored | ground truth): %s', path)
        self._log_validation(outcome, name, current_iter, tb_logger)

    def _new_validator(self) -> Validator:
        options = self.opt.get('val') or {}
        return Validator(self.metrics, options.get('sheet_faces', 8), options.get('group_pattern'))

    def _picture_path(self, folder: Path, dataset: str, face: str, current_iter: Any) -> Path:
        if self.is_train:
            return folder / face / f'{Path(face).name}_{current_iter}.png'
        suffix = (self.opt.get('val') or {}).get('suffix')
        return folder / dataset / f'{face}_{suffix or self.opt["name"]}.png'

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Add a record for each metric that has none: BasicSR's way knows none that came with a resume."""
        best = self.__dict__.setdefault('best_metric_results', {}).setdefault(dataset_name, {})
        for metric, options in ((self.opt.get('val') or {}).get('metrics') or {}).items():
            better = complete(options, f'val.metrics.{metric}').get('better', 'higher')
            worst = float('-inf') if better == 'higher' else float('inf')
            best.setdefault(metric, {'better': better, 'val': worst, 'iter': -1})

    def _log_validation(self, outcome: Any, name: str, current_iter: Any, tb_logger: Any) -> None:
        self.metric_results = dict(outcome.restored)
        if not self.is_train:
            return
        self._initialize_best_metric_results(name)
        for metric, value in outcome.restored.items():
            self._update_best_metric_result(name, metric, value, current_iter)
            best = self.best_metric_results[name][metric]
            _LOGGER.info('Best %s on %s: %.4f at iteration %s', metric, name, best['val'], best['iter'])
        self.training_state.note_validation(current_iter, name)
        if tb_logger:
            for kind, values in (('', outcome.restored), ('_input', outcome.inputs)):
                for metric, value in values.items():
                    tb_logger.add_scalar(f'metrics/{name}/{metric}{kind}', value, current_iter)
            for metric, worst in outcome.worst.items():
                tb_logger.add_scalar(f'metrics/{name}/{metric}_worst_group', worst.value, current_iter)
            if outcome.sheet is not None:
                tb_logger.add_image(f'sheets/{name}', outcome.sheet, current_iter, dataformats='HWC')

    # Files

    def save(self, epoch: int, current_iter: int) -> None:
        """Write the complete set of an iteration; -1, with which BasicSR ends, also leaves ``net_*_latest.pth``."""
        iteration = self.iteration if current_iter == -1 else current_iter
        self.training_state.save(epoch, iteration)
        if current_iter == -1:
            self.training_state.publish(iteration)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Go on as if the run had not stopped: networks, moving average, optimizers, random numbers, best metrics."""
        self.training_state.restore(resume_state)
        self.iteration = resume_state['iter']
        self.clock.restore(resume_state.get('clock') or {})
