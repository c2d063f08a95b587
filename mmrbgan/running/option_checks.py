"""Checks the options of a run before anything is made: a typo, a missing folder or a missing file is one clear line.

Sections that this plugin knows are checked key by key; models and datasets that other plugins registered keep their own
rules, and only what BasicSR itself needs of them is checked.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_arch.support.option_reader import read_options

OUR_MODEL = 'MMRBGANModel'
_TOP = {
    *('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'path', 'train', 'val', 'logger'),
    *('dist_params', 'find_unused_parameters'),
}
_VAL = {'val_freq', 'save_img', 'suffix', 'pbar', 'metrics', 'sheet_faces', 'group_pattern'}
_PATH = {'resume_state', 'ignore_resume_networks'}
_PATH_PREFIXES = ('pretrain_network_', 'param_key_', 'strict_load_')


def check_options(options: Mapping[str, Any], is_train: bool) -> None:
    """Check every section.

    Raises:
        UsageError: the first fault found, with its place and the way out.
    """
    _check_name(options.get('name'))
    _check_type(MODEL_REGISTRY, options.get('model_type'), 'model_type')
    if is_ours(options):
        _check_keys(options, _TOP, '', prefixes=('network_',))
    for key in (key for key in options if key.startswith('network_')):
        _check_network(options[key], key)
    _check_path(options['path'])
    _check_datasets(options.get('datasets'), is_train)
    if is_train:
        _check_train(options)
    if is_ours(options):
        _check_keys(options.get('val') or {}, _VAL, 'val')
        _check_sizes(options)
        if not is_train and _needs_weights(options) and not options['path'].get('pretrain_network_g'):
            raise UsageError('path.pretrain_network_g: missing; a test needs the weights to test')


def _needs_weights(options: Mapping[str, Any]) -> bool:
    """Say whether the network is nothing without a file; baselines have no parameters or read their own file."""
    if 'network_g' not in options:
        return True
    return not getattr(ARCH_REGISTRY.get(options['network_g']['type']), 'brings_its_weights', False)


def is_ours(options: Mapping[str, Any]) -> bool:
    """Say whether the run's model is this plugin's."""
    return options.get('model_type') == OUR_MODEL


def is_checked(options: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    """Say whether ``check_options`` would refuse an unknown last key of ``place``."""
    if len(place) > 1 and place[0] == 'datasets':
        kind = options['datasets'][place[1]].get('type')
        return kind in DATASET_REGISTRY and hasattr(DATASET_REGISTRY.get(kind), 'options_class')
    if len(place) > 1 and place[0].startswith('network_'):
        return True
    return place[0] in ('path', 'logger') or is_ours(options)


def has_option(dataset_type: str, name: str) -> bool:
    """Say whether the dataset's options are a dataclass with the field ``name``."""
    options_class = getattr(DATASET_REGISTRY.get(dataset_type), 'options_class', None)
    return options_class is not None and name in {field.name for field in dataclasses.fields(options_class)}


def train_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``train`` that BasicSR's loop reads, with this plugin's defaults where the yml has none."""
    train = dict(options['train'])
    if is_ours(options):
        from mmrbgan_model.options import TrainOptions

        settings = read_options(TrainOptions, train, 'train')
        train.update({key: getattr(settings, key) for key in ('total_iter', 'warmup_iter') if hasattr(settings, key)})
    return train


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not re.fullmatch(r'[\w][\w.+ -]*', name):
        raise UsageError(f'name: {name!r} cannot name a folder; use letters, digits, "_", "-" and "."')


def _check_type(registry: Any, name: Any, where: str) -> Any:
    """Return the registered class, or raise with the nearest name."""
    if name is None:
        raise UsageError(f'{where}: missing, and it has no default')
    for full_name in (name, f'{name}_basicsr'):
        if full_name in registry:
            return registry.get(full_name)
    raise UsageError(f'{where}: {nearest_key(str(name), registry.keys())}'.replace('unknown key', 'unknown name'))


def _check_keys(section: Any, known: Iterable[str], where: str, prefixes: tuple[str, ...] = ()) -> None:
    if not isinstance(section, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {section!r}')
    for key in section:
        if key not in known and not str(key).startswith(prefixes or ('\0',)):
            raise UsageError(f'{where}: {nearest_key(str(key), known)}'.removeprefix(': '))


def _check_network(options: Any, where: str) -> None:
    if not isinstance(options, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {options!r}')
    signature = inspect.signature(_check_type(ARCH_REGISTRY, options.get('type'), f'{where}.type'))
    parameters = signature.parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        _check_keys(options, {'type', *signature.parameters}, where)
    for parameter in parameters:
        is_plain = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if is_plain and parameter.default is parameter.empty and parameter.name not in options:
            raise UsageError(f'{where}.{parameter.name}: missing, and it has no default')


def _check_path(paths: Any) -> None:
    _check_keys(paths, _PATH, 'path', _PATH_PREFIXES)
    for key, value in paths.items():
        is_file = key == 'resume_state' or key.startswith('pretrain_network_')
        if is_file and value is not None and not Path(str(value)).expanduser().is_file():
            raise UsageError(f'path.{key}: there is no file {value}; correct the path or set it to ~ (nothing)')


def _check_datasets(datasets: Any, is_train: bool) -> None:
    if not isinstance(datasets, Mapping) or not datasets:
        raise UsageError('datasets: missing; a run needs at least one section such as datasets.train')
    if is_train and 'train' not in datasets:
        raise UsageError('datasets.train: missing; `basicsr test` runs options without it')
    for phase, section in datasets.items():
        _check_dataset(phase, section, is_train)


def _check_dataset(phase: str, options: Any, is_train: bool) -> None:
    where = f'datasets.{phase}'
    if str(phase).split('_')[0] not in (('train', 'val') if is_train else ('train', 'val', 'test')):
        raise UsageError(f'{where}: unknown phase; use train, val, val_2, ... to train and test, test_2, ... to test')
    if not isinstance(options, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {options!r}')
    kind = _check_type(DATASET_REGISTRY, options.get('type'), f'{where}.type')
    if hasattr(kind, 'options_class'):
        read_options(kind.options_class, options, where)
        return
    for key in (key for key in options if key.startswith('dataroot')):
        if options[key] is not None and not Path(str(options[key])).expanduser().exists():
            raise UsageError(f'{where}.{key}: there is no {options[key]}; correct the path or fetch the data')


def _check_sizes(options: Mapping[str, Any]) -> None:
    """Refuse faces of another size than the network's, where both have one."""
    network = options.get('network_g') or {}
    parameters = inspect.signature(ARCH_REGISTRY.get(network['type'])).parameters if 'type' in network else {}
    if 'out_size' not in parameters:
        return
    wanted = network.get('out_size', parameters['out_size'].default)
    for phase, section in options['datasets'].items():
        found = section.get('image_size')
        if found is not None and found != wanted:
            raise UsageError(
                f'datasets.{phase}.image_size: {found}, but network_g.out_size is {wanted}; make them the same'
            )


def _check_train(options: Mapping[str, Any]) -> None:
    if not isinstance(options.get('train'), Mapping):
        raise UsageError('train: missing; `basicsr test` runs options without it')
    total = train_defaults(options).get('total_iter')
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 1 or total != int(total):
        raise UsageError(f'train.total_iter: expected a whole number of iterations, found {total!r}')
    frequency = (options.get('val') or {}).get('val_freq', 1)
    if not isinstance(frequency, int | float) or frequency < 1:
        raise UsageError(f'val.val_freq: expected a number of iterations, found {frequency!r}')
