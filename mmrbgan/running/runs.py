"""What stands in, for one run, for the names that ``basicsr.train`` and ``basicsr.test`` use."""

import argparse
import logging
import random
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.models import build_model
from basicsr.utils import MessageLogger
from torch.utils.data import DataLoader

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.folder_lock import FolderLock
from mmrbgan_model.checkpoints import checkpointing
from mmrbgan_model.checkpoints.versions import installed_versions
from mmrbgan_model.metrics import metric_options
from mmrbgan_model.ranks import rank_and_size

from . import folders, loaders, processes, trackers, trials
from .feed import BatchFeed
from .log import ProgressBar, RunLog
from .options import option_checks, option_files, run_yml
from .signals import RunStoppedError, StopSignals

_LOGGER = logging.getLogger(__name__)


class Run:
    """What training and testing share: options, processes, seeds, folders, log."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Begin; nothing is read yet."""
        self.args = args
        self.root = Path.cwd()
        self.opt: dict[str, Any] = {}
        self.model: Any = None
        self._log: RunLog | None = None
        self._lock: FolderLock | None = None
        self._draws_seed = False
        self._inheriting: list[str] = []  # datasets that take the run's seed

    def close(self) -> None:
        """Close the log, and give the run's folder back."""
        if self._log is not None:
            self._log.close()
        if self._lock is not None:
            self._lock.release()

    def roots(self) -> list[str]:
        """Return where the images lie."""
        sections = (self.opt.get('datasets') or {}).values()
        return sorted({str(value) for section in sections for key, value in section.items() if 'dataroot' in key})

    def parse_options(self, root_path: str, is_train: bool) -> tuple[dict[str, Any], argparse.Namespace]:
        """Read and check the options, start the processes, set the seeds."""
        self.args.opt = str(option_files.find(self.args.opt))  # BasicSR copies it beside the run
        given = run_yml.load_yml(self.args.opt)
        created = run_yml.apply_overrides(given, self.args.force_yml)
        self._draws_seed = given.get('manual_seed') is None
        self.opt = run_yml.fill_defaults(given, is_train)
        option_checks.check_options(self.opt, is_train)
        for place in created:
            if not option_checks.is_checked(self.opt, place):
                run_yml.refuse_unknown(self.opt, place)
        self._start_processes()
        self._complete(is_train)
        trackers.check(self.opt)
        self._take_folder()
        return self.opt, self.args

    def _take_folder(self) -> None:
        """Keep the run's folder for this run until it ends or dies."""
        if self.opt['rank'] == 0:
            home = self.opt['path'].get('experiments_root') or self.opt['path']['results_root']
            way_out = 'wait for it, end it, or start with another name'
            self._lock = FolderLock(home, f'{way_out} (--force_yml name=NAME)')
            self._lock.take()

    def open_log(self, **arguments: Any) -> logging.Logger:
        """Open the log file."""
        result: logging.Logger = self.log.open_file(**arguments)
        return result

    def set_aside(self, folder: str) -> None:
        """Move an earlier run of this name out of the way."""
        if self.opt['rank'] == 0:
            folders.set_aside(folder)

    def make_folders(self, opt: dict[str, Any]) -> None:
        """Make fresh folders, on the first rank."""
        if not self._goes_on_from_nothing():
            self.set_aside(opt['path'].get('experiments_root') or opt['path']['results_root'])
        if opt['rank'] == 0:
            folders.make_folders(opt['path'])
        processes.wait_for_all()

    def _goes_on_from_nothing(self) -> bool:
        """Say whether --auto_resume found a folder of a run that was killed before its first checkpoint: it is used."""
        paths = self.opt['path']
        if self.opt['rank'] or not (self.opt['auto_resume'] and 'models' in paths and Path(paths['models']).is_dir()):
            return False
        folder = checkpointing.CheckpointFolder(Path(paths['models']), Path(paths['training_states']), 0)
        return folder.remove_interrupted()

    @property
    def _is_ours(self) -> bool:
        return option_checks.is_ours(self.opt)

    @property
    def log(self) -> RunLog:
        """The run's log, which takes the loggers over when it is first asked for."""
        if self._log is None:
            self._log = RunLog(is_master=rank_and_size()[0] == 0)
        return self._log

    def _start_processes(self) -> None:
        launched = self.args.launcher == 'pytorch'
        self.opt['num_gpu'], line = processes.choose_device(self.opt['num_gpu'], launched)
        if launched:
            processes.start(self.opt.get('dist_params'), self.opt['num_gpu'])
        self.opt['dist'] = launched
        self.opt['rank'], self.opt['world_size'] = rank_and_size()
        self.log.announce(line)

    def _complete(self, is_train: bool) -> None:
        """Add what BasicSR derives: the debug settings, phases, the seed and the paths."""
        opt = self.opt
        opt['auto_resume'], opt['is_train'] = self.args.auto_resume, is_train
        if self.args.debug:
            _set_debug(opt)
        opt['manual_seed'] = processes.from_first_rank(opt['manual_seed'])
        opt['datasets'] = {phase: self._complete_dataset(phase, section) for phase, section in opt['datasets'].items()}
        if (opt.get('val') or {}).get('metrics'):
            metrics = opt['val']['metrics'].items()
            opt['val']['metrics'] = {name: metric_options.complete(entry, name) for name, entry in metrics}
        paths = {key: _expanded(value) for key, value in opt['path'].items()}
        opt['path'] = {**paths, **folders.run_paths(self.root, opt['name'], is_train)}

    def _complete_dataset(self, phase: str, section: Mapping[str, Any]) -> dict[str, Any]:
        added: dict[str, Any] = {'phase': phase.split('_', maxsplit=1)[0], 'name': section.get('name', phase)}
        if 'scale' in self.opt:
            added['scale'] = self.opt['scale']
        if 'seed' not in section and option_checks.has_option(section['type'], 'seed'):
            added['seed'] = self.opt['manual_seed']
            self._inheriting.append(phase)
        roots = {key: _expanded(value) for key, value in section.items() if key.startswith('dataroot')}
        return {**section, **roots, **added}

    def _build_model(self) -> None:
        """Build the model with equal weights on every rank; each rank has its own random numbers afterwards."""
        set_seeds(self.opt['manual_seed'])
        with trials.one_line(f'model_type: {self.opt["model_type"]}') if not self._is_ours else nullcontext():
            self.model = build_model(self.opt)
        set_seeds(self.opt['manual_seed'] + self.opt['rank'])


class TrainRun(Run):
    """A training run."""

    def __init__(self, args: argparse.Namespace) -> None:
        """Begin to listen to signals; nothing is read yet."""
        super().__init__(args)
        self.signals = StopSignals()
        self.tb_logger: Any = None
        self.feed: BatchFeed | None = None

    def close(self) -> None:
        """End the loader's workers, write TensorBoard's last lines, close the log, let the signals go."""
        if self.feed is not None:
            self.feed.close()
        if self.tb_logger is not None:
            self.tb_logger.close()
        self.signals.close()
        super().close()

    def remedies(self) -> dict[str, Any]:
        """Return what stands in for the names in ``basicsr.train``."""
        return {
            'parse_options': self.parse_options,
            'load_resume_state': self.load_resume_state,
            'make_exp_dirs': self.make_folders,
            'mkdir_and_rename': self.set_aside,
            'copy_opt_file': self.keep_options,
            'get_root_logger': self.open_log,
            'init_tb_loggers': trackers.open_loggers,
            'create_train_val_dataloader': self.hand_over_loaders,
            'build_model': self.hand_over_model,
            'MessageLogger': self.message_logger,
            'CPUPrefetcher': self.prefetcher,
            'CUDAPrefetcher': lambda loader, opt: self.prefetcher(loader),
        }

    def load_resume_state(self, opt: dict[str, Any]) -> dict[str, Any] | None:
        """Find the state to go on from, and build the data and the networks while nothing is made yet."""
        opt['train'] = option_checks.train_defaults(opt)
        self.total = opt['train']['total_iter'] = int(opt['train']['total_iter'])
        state = checkpointing.find_state(opt)
        if self._draws_seed and state is not None:
            self._take_seed(state.get('options') or {})
        place = (state or {}).get('place') or {'samples': 0}
        self.start = {**place, 'iter': (state or {}).get('iter', 0), 'epoch': (state or {}).get('epoch', 0)}
        self._build_loaders()
        self._build_model()
        if state is not None and opt['rank'] == 0:
            folders.make_folders(opt['path'])
        processes.wait_for_all()
        return state

    def _take_seed(self, stored: Mapping[str, Any]) -> None:
        """Go on with the seed that the run drew when it began, since the option file names none."""
        self.opt['manual_seed'] = stored.get('manual_seed', self.opt['manual_seed'])
        for phase in self._inheriting:
            self.opt['datasets'][phase]['seed'] = self.opt['manual_seed']

    def keep_options(self, opt_file: str, experiments_root: str) -> None:
        """Keep the options beside the checkpoints."""
        if self.opt['rank'] == 0:
            folders.write_options(opt_file, experiments_root, self.opt, installed_versions())

    def hand_over_loaders(self, opt: dict[str, Any], logger: logging.Logger) -> tuple[Any, ...]:
        """Return what was built before (``create_train_val_dataloader``)."""
        self.log.release()
        batch, world = self.train_loader.batch_size or 1, opt['world_size']
        per_epoch = len(self.sampler) // batch
        first = (len(self.sampler) - self.start['samples'] // world) // batch
        epochs = loaders.last_epoch(self.total, self.start['iter'], self.start['epoch'], first, per_epoch)
        logger.info(
            'Training statistics:'
            f'\n\tNumber of train images: {len(self.train_loader.dataset)}'  # type: ignore[arg-type]
            f'\n\tBatch size per process: {batch}\n\tProcesses: {world}'
            f'\n\tIterations per epoch: {per_epoch}\n\tTotal epochs: {epochs + 1}; iters: {self.total}.'
        )
        return self.train_loader, self.sampler, self.val_loaders, epochs, self.total

    def hand_over_model(self, opt: dict[str, Any]) -> Any:
        """Return the model that was built before."""
        return self.model

    def message_logger(self, opt: dict[str, Any], start_iter: int, tb_logger: Any) -> Callable[[dict[str, Any]], None]:
        """Return BasicSR's MessageLogger, which also tells the progress bar."""
        self.tb_logger = tb_logger
        lines = MessageLogger(opt, start_iter, tb_logger)
        lines.start_iter = start_iter
        lines.max_iters = self.total + 1  # BasicSR counts the last iteration as one too many: 'eta: -1 day'
        self.bar = ProgressBar(self.total, start_iter, is_master=opt['rank'] == 0)
        return _Messages(lines, self.bar)

    def prefetcher(self, loader: DataLoader[Any]) -> BatchFeed:
        """Return what feeds the loop."""
        on_gpu = self.opt['num_gpu'] > 0
        self.feed = BatchFeed(loader, self.sampler, self.start, self.total, on_gpu, self._after_step)
        if hasattr(self.model, 'state_sources'):
            self.model.state_sources['place'] = self.feed.place
            self._validate_where_missed(self.start['iter'])
        return self.feed

    def _after_step(self, epoch: int, iteration: int) -> None:
        self.bar.reach(iteration)
        clock = getattr(self.model, 'clock', None)
        if iteration == self.total or (clock is not None and clock.is_over):
            self.bar.close()
            assert self.feed is not None
            self.feed.end()
            return
        name = self.signals.name()
        if name is not None:
            self.bar.close()
            self.model.save(epoch, iteration)
            raise RunStoppedError(f'{name}: saved iteration {iteration} and ended; --auto_resume goes on from there')

    def _validate_where_missed(self, iteration: int) -> None:
        """Validate the resumed iteration if the run ended between its checkpoint and its validation."""
        val = self.opt.get('val')
        if val is None or iteration == 0 or iteration % val['val_freq']:
            return
        for loader in self.val_loaders:
            name = loader.dataset.opt['name']  # type: ignore[attr-defined]
            if not self.model.training_state.is_validated(iteration, name):
                self.model.validation(loader, iteration, self.tb_logger, val['save_img'])

    def _build_loaders(self) -> None:
        opt = self.opt
        sets = {phase: trials.build_set(phase, section) for phase, section in opt['datasets'].items()}
        options = opt['datasets']['train']
        ratio = options.get('dataset_enlarge_ratio', 1)
        self.sampler = loaders.EpochSampler(sets['train'], opt['world_size'], opt['rank'], ratio, opt['manual_seed'])
        self.sampler.skip(self.start['epoch'], self.start['samples'] // opt['world_size'])
        self.train_loader = loaders.train_loader(sets['train'], options, self.sampler, opt['num_gpu'] > 0)
        self.val_loaders = [
            loaders.test_loader(dataset, opt['datasets'][phase]) for phase, dataset in sets.items() if phase != 'train'
        ]
        if opt.get('val') is not None:
            trials.try_metrics(opt, sets)

    def _build_model(self) -> None:
        super()._build_model()
        self.model.validation = once_per_iteration(self.model.validation)
        if not self._is_ours:
            kind = self.opt['model_type']
            self.model.optimize_parameters = trials.first_step(kind, self.model.optimize_parameters)
            for loader in self.val_loaders if self.opt.get('val') is not None else ():
                trials.try_picture(self.model, kind, loader)


class TestRun(Run):
    """A test run."""

    __test__ = False

    def remedies(self) -> dict[str, Any]:
        """Return what stands in for the names in ``basicsr.test``."""
        return {
            'parse_options': self.parse_options,
            'make_exp_dirs': self.make_folders,
            'get_root_logger': self.open_log,
            'build_dataset': self.hand_over_dataset,
            'build_dataloader': lambda dataset, section, **_: loaders.test_loader(dataset, section),
            'build_model': lambda opt: self.model,
        }

    def make_folders(self, opt: dict[str, Any]) -> None:
        """Build the data and the networks, and make folders when that went well."""
        opt['datasets'] = {phase: section for phase, section in opt['datasets'].items() if phase != 'train'}
        if not opt['datasets']:
            raise UsageError('datasets: no test set; add a section such as datasets.test')
        sets = {phase: trials.build_set(phase, section) for phase, section in opt['datasets'].items()}
        self._sets = {id(section): sets[phase] for phase, section in opt['datasets'].items()}
        found = [loaders.test_loader(sets[phase], section) for phase, section in opt['datasets'].items()]
        if not self._is_ours:  # ours leaves out what has no weights
            trials.try_metrics(opt, sets)
        self._build_model()
        for loader in found if not self._is_ours else ():
            trials.try_picture(self.model, opt['model_type'], loader)
        super().make_folders(opt)

    def hand_over_dataset(self, section: dict[str, Any]) -> Any:
        """Return the dataset that was built before."""
        self.log.release()
        return self._sets[id(section)]


class _Messages:
    """BasicSR's MessageLogger and the progress bar as one."""

    def __init__(self, lines: MessageLogger, bar: ProgressBar) -> None:
        self.reset_start_time = lines.reset_start_time
        self._lines, self._bar = lines, bar

    def __call__(self, log_vars: dict[str, Any]) -> None:
        self._bar.show(log_vars)
        self._lines(log_vars)


def once_per_iteration(validation: Callable[..., None]) -> Callable[..., None]:
    """Let a loader be validated once per iteration; BasicSR validates the last one twice."""
    done: dict[int, Any] = {}

    def validate(loader: DataLoader[Any], current_iter: Any, *args: Any, **kwargs: Any) -> None:
        if done.get(id(loader)) != current_iter:
            done[id(loader)] = current_iter
            validation(loader, current_iter, *args, **kwargs)

    return validate


def set_seeds(seed: int) -> None:
    """Seed Python, numpy and torch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _set_debug(opt: dict[str, Any]) -> None:
    """Name the run debug_... and make it log, save and validate soon, as BasicSR does."""
    opt['name'] = opt['name'] if opt['name'].startswith('debug') else f'debug_{opt["name"]}'
    opt['logger'].update(print_freq=1, save_checkpoint_freq=8)
    if opt.get('val') is not None:
        opt['val']['val_freq'] = 8


def _expanded(value: Any) -> Any:
    return str(Path(value).expanduser()) if isinstance(value, str) and value.startswith('~/') else value
