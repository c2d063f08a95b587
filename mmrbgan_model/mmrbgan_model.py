"""MMRBGAN's training as a BasicSR model (paper 3.3, 4.2): a step is forward, generator, discriminators, EMA."""

import copy
import itertools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmrbgan_arch import MMRBGAN, MMRBGANArcFace, basicsr_bridge
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.memory import keep_memory
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_arch.support.public_weights import FILES, find_weights
from mmrbgan_arch.weights_io import load_into
from mmrbgan_data.components import COMPONENTS

from . import finite_guard, loss_terms, ranks, rng_state, speed
from .loss_terms import GeneratorTerm, Step
from .options import TrainOptions
from .perceptual import build_feature_maps
from .run_clock import RunClock
from .training_state import TrainingState
from .validation import Validator, picture_name, validate, write_picture

basicsr_bridge.connect()

from basicsr.archs import build_network  # noqa: E402
from basicsr.models.base_model import BaseModel  # noqa: E402

_LOGGER = logging.getLogger('basicsr')


@basicsr_bridge.register_model
class MMRBGANModel(BaseModel):
    """Trains and tests MMRBGAN; every network of the run is in ``networks`` by its name in files and options."""

    settings: TrainOptions
    net_d: Any

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
        self._new_validator()  # a metric that does not work is told now, not after hours
        self.net_g = self._add_network('net_g', opt['network_g'])
        if self.is_train:
            self._init_training()
        else:
            self.net_g.eval()

    # Construction

    def _init_training(self) -> None:
        if self.device.type == 'cpu':
            keep_memory()
        self._add_ema()
        self.net_d = self._add_discriminator()
        self.component_nets = self._add_component_nets()
        self.terms = self._generator_terms()
        self._setup_optimizers()
        self.train_mode()
        ranks.copy_first(self.networks.values())
        self.scaler = speed.grad_scaler(self.settings.amp, self.device)
        self.iteration = 0
        self.clock = RunClock(self.settings.total_iter, self.settings.time_limit)
        self.state_sources: dict[str, Callable[[], Any]] = {'clock': self.clock.state}
        self.training_state = TrainingState(self, self.settings.keep_checkpoints)

    def _add_network(self, name: str, options: Mapping[str, Any]) -> nn.Module:
        """Build a network, load its ``path.pretrain_network_*`` and put it on the device."""
        try:
            network = build_network(copy.deepcopy(options))
        except (TypeError, ValueError) as error:
            raise UsageError(f'{name.replace("net_", "network_")}: {error}') from error
        self._load_pretrained(network, name.removeprefix('net_'))
        self.networks[name] = network = network.to(self.device)
        return self._speed_up(network) if self.is_train else network

    def _speed_up(self, network: nn.Module) -> Any:
        """Apply ``train.channels_last``, ``grad_checkpointing`` and ``compile``; the state dict stays as it is."""
        if self.settings.channels_last:
            network.to(memory_format=torch.channels_last)
        if self.settings.grad_checkpointing:
            speed.recompute_activations(network)
        return torch.compile(network) if self.settings.compile else network

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

    def _add_ema(self) -> None:
        """The generator's moving average starts as its copy."""
        self.net_g_ema = copy.deepcopy(self.networks['net_g']).eval().requires_grad_(False)
        self.networks['net_g_ema'] = self.net_g_ema

    def _add_discriminator(self) -> nn.Module | None:
        if self.settings.gan_opt is None:
            return None
        if 'network_d' not in self.opt:
            raise UsageError(
                'train.gan_opt needs network_d: {type: MMRBGANDiscriminator, ...}, or remove train.gan_opt'
            )
        return self._add_network('net_d', self.opt['network_d'])

    def _add_component_nets(self) -> dict[str, nn.Module]:
        if self.settings.component_opt is None:
            return {}
        options = self.opt.get('network_d_component', {'type': 'MMRBGANComponentDiscriminator'})
        return {component.name: self._add_network(f'net_d_{component.name}', options) for component in COMPONENTS}

    def _generator_terms(self) -> list[GeneratorTerm]:
        """Eq. 16 as a list; a new term is one line here and one test."""
        settings, terms = self.settings, []
        if settings.pixel_opt:
            terms.append(GeneratorTerm('pix', settings.pixel_opt, loss_terms.pixel_loss))
        if settings.pyramid_opt:
            terms.append(GeneratorTerm('pyramid', settings.pyramid_opt, loss_terms.pyramid_loss))
        if settings.perceptual_opt:
            features = build_feature_maps(settings.perceptual_opt).to(self.device)
            terms.append(GeneratorTerm('percep', settings.perceptual_opt, loss_terms.perceptual_loss(features)))
        if settings.identity_opt:
            recogniser = self._build_recogniser(settings.identity_opt.weights)
            compute = loss_terms.identity_loss(recogniser, settings.identity_opt.augment)
            terms.append(GeneratorTerm('identity', settings.identity_opt, compute))
        if settings.gan_opt:
            terms.append(GeneratorTerm('gan', settings.gan_opt, loss_terms.adversarial_loss(self.net_d)))
        if settings.component_opt:
            compute = loss_terms.component_loss(self.component_nets)
            terms.append(GeneratorTerm('component', settings.component_opt, compute))
        return terms

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
            return load_into(network, path).to(self.device)
        except UsageError as error:
            raise UsageError(f'{option}: {error}; or {way_out}') from error

    def _setup_optimizers(self) -> None:
        """Adam per network; the generator's three groups have their own rates (paper 4.2), a rate of 0 is fixed."""
        settings = self.settings
        rates = {
            'codec': settings.optim_g.lr_codec,
            'prior': settings.optim_g.lr_prior,
            'noise': settings.optim_g.lr_noise,
        }
        groups, generator = [], self.networks['net_g']
        assert isinstance(generator, MMRBGAN)
        for name, parameters in generator.parameter_groups().items():
            for parameter in parameters:
                parameter.requires_grad_(rates[name] > 0)
            groups.append({'params': parameters, 'lr': rates[name], 'name': name})
        self.optimizer_g = self._add_optimizer(groups, settings.optim_g.betas)
        if self.net_d is not None:
            self.optimizer_d = self._add_optimizer(
                self._group('d', self.net_d, settings.optim_d.lr), settings.optim_d.betas
            )
        self.optimizers_component = {
            name: self._add_optimizer(
                self._group(name, net, settings.optim_component.lr), settings.optim_component.betas
            )
            for name, net in self.component_nets.items()
        }

    @staticmethod
    def _group(name: str, network: nn.Module, rate: float) -> list[dict[str, Any]]:
        return [{'params': [p for p in network.parameters() if p.requires_grad], 'lr': rate, 'name': name}]

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
        log: dict[str, Tensor] = {}
        self._drop_gradients()
        for part in speed.parts(self._batch(), self.settings.accumulate):
            with speed.autocast(self.settings.amp, self.device):
                step = self._forward(self.clock.place, part)
                self._generator_backward(step, log)
                self._discriminator_backward(step, log)
                self._component_backwards(step, log)
        self._share_and_check(log)
        self._step_optimizers()
        self._update_ema()

    def _batch(self) -> dict[str, Tensor | None]:
        return {'lq': self.lq, 'gt': self.gt, 'boxes': self.boxes, 'mask': self.mask}

    def _drop_gradients(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def _forward(self, iteration: int, part: Mapping[str, Any]) -> Step:
        output, pyramid = self.net_g(part['lq'], return_pyramid=True)
        images = output.to(part['lq'].dtype), [level.to(part['lq'].dtype) for level in pyramid]
        return Step(iteration, part['lq'], part['gt'], part['boxes'], part['mask'], *images)

    def _generator_backward(self, step: Step, log: dict[str, Tensor]) -> None:
        """Minimise Eq. 16 in the generator; the discriminators only pass gradients through."""
        found: dict[str, Tensor] = {}
        with no_gradient_for([self.net_d, *self.component_nets.values()]):
            self._backward(loss_terms.sum_terms(self.terms, step, found), found, log)

    def _discriminator_backward(self, step: Step, log: dict[str, Tensor]) -> None:
        """Maximise logits of true faces, minimise those of restored ones (Eq. 11); R1 at its interval."""
        gan, r1 = self.settings.gan_opt, self.settings.r1_opt
        if gan is None or not gan.active(step.iteration):
            return
        with_penalty = r1 is not None and r1.active(step.iteration) and self.iteration % r1.interval == 0
        gt = step.gt.detach().requires_grad_(with_penalty)
        with speed.autocast(None if with_penalty else self.settings.amp, self.device):  # R1 in float32
            real = self.net_d(gt)
        fake = self.net_d(step.output.detach())
        loss = loss_terms.discriminator_loss(real, fake)
        found = {'l_d': loss, 'out_d_real': real.mean(), 'out_d_fake': fake.mean()}
        if r1 is not None and with_penalty:
            found['l_d_r1'] = loss_terms.gradient_penalty(real, gt)
            loss = loss + r1.loss_weight * r1.interval * found['l_d_r1']
        self._backward(loss, found, log)

    def _component_backwards(self, step: Step, log: dict[str, Tensor]) -> None:
        """Eq. 12, discriminators' side: tell true components from restored ones, one net per component."""
        if self.settings.component_opt is None or not self.settings.component_opt.active(step.iteration):
            return
        for component in COMPONENTS:
            network, mask = self.component_nets[component.name], step.mask(component)
            real = network(step.gt_crops[component.name])
            fake = network(step.output_crops[component.name].detach())
            loss = loss_terms.masked_cross_entropy(real, True, mask)
            loss = loss + loss_terms.masked_cross_entropy(fake, False, mask)
            self._backward(loss, {f'l_d_{component.name}': loss}, log)

    def _backward(self, loss: Tensor, found: Mapping[str, Tensor], log: dict[str, Tensor]) -> None:
        """Add the gradients of one part's ``loss``, and what was ``found`` to the iteration's means."""
        self.scaler.scale(loss / self.settings.accumulate).backward()
        for name, value in found.items():
            log[name] = log.get(name, 0) + value.detach() / self.settings.accumulate

    def _share_and_check(self, log: Mapping[str, Tensor]) -> None:
        """Average the gradients over the processes; stop before the step if anything is not finite."""
        values = dict(log)
        for optimizer in self.optimizers:
            ranks.average_gradients(p for group in optimizer.param_groups for p in group['params'])
            size = None if self.scaler.is_enabled() else finite_guard.gradient_size(optimizer)
            if size is not None:
                values[f'gradient of {optimizer.param_groups[0]["name"]}'] = size
        numbers = finite_guard.to_floats(values)
        faults = finite_guard.not_finite(numbers)
        if faults:
            folder = Path(self.opt['path']['experiments_root'])
            finite_guard.stop_run(faults, self.iteration, self.files, self._batch(), folder)
        self.log_dict = {name: numbers[name] for name in log}

    def _step_optimizers(self) -> None:
        """Step every optimizer that has gradients; with fp16 a step whose gradients overflowed is left out."""
        for optimizer in self.optimizers:
            if any(p.grad is not None for group in optimizer.param_groups for p in group['params']):
                self.scaler.step(optimizer)
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
        average, current = self.net_g_ema, self.networks['net_g']
        torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - self.settings.ema_decay)
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
        return Validator(options.get('metrics') or {}, options.get('sheet_faces', 8))

    def _picture_path(self, folder: Path, dataset: str, face: str, current_iter: Any) -> Path:
        if self.is_train:
            return folder / face / f'{Path(face).name}_{current_iter}.png'
        suffix = (self.opt.get('val') or {}).get('suffix')
        return folder / dataset / f'{face}_{suffix or self.opt["name"]}.png'

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Add a record for each metric that has none: BasicSR's way knows none that came with a resume."""
        best = self.__dict__.setdefault('best_metric_results', {}).setdefault(dataset_name, {})
        for metric, options in ((self.opt.get('val') or {}).get('metrics') or {}).items():
            better = options.get('better', 'higher')
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


@contextmanager
def no_gradient_for(networks: list[nn.Module | None]) -> Iterator[None]:
    """Keep the trainable parameters of ``networks`` out of the graph inside the block; frozen ones stay frozen."""
    parameters = [p for network in networks if network is not None for p in network.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
