"""Checks the options of a run before anything is made: a typo, a missing folder or a missing file is one clear line.

Sections are read by their descriptions (``sections``, ``basicsr_sections``, the datasets' and the model's own). Models
and datasets of other plugins keep their own rules, and only what BasicSR itself needs of them is checked.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY

from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_arch.support.option_reader import check_arguments, convert, read_options
from mmrbgan_arch.weights_io import read_file
from mmrbgan_data.components import COMPONENTS
from mmrbgan_model.metrics import metric_options

from . import basicsr_sections
from .sections import PATH_KEYS, PathOptions, ProcessOptions, RunOptions, ValOptions

OUR_MODEL = 'MMRBGANModel'
OUR_NETWORKS = ('network_g', 'network_d', 'network_d_component', 'network_identity')
PLAIN_KEYS = ('params', 'params_ema')  # entries that every file of BasicSR may have


def check_options(options: Mapping[str, Any], is_train: bool) -> None:
    """Check every section.

    Raises:
        UsageError: the first fault found, with its place and the way out.
    """
    _check_type(MODEL_REGISTRY, options.get('model_type'), 'model_type')
    _check_top(options)
    if 'network_g' not in options and is_described(options):
        raise UsageError('network_g: missing, and it has no default')
    for key in (key for key in options if str(key).startswith('network_')):
        _check_network(options, key)
    _check_path(options)
    _check_datasets(options.get('datasets'), is_train)
    if is_train:
        _check_train(options)
    _check_val(options)
    read_options(ProcessOptions, options.get('dist_params'), 'dist_params')
    if is_ours(options):
        _check_sizes(options)
        if options.get('scale', 1) not in (None, 1):
            raise UsageError(f'scale: {OUR_MODEL} keeps the size; remove it')
        if options['path'].get('ignore_resume_networks'):
            raise UsageError(f"path.ignore_resume_networks: BasicSR's; {OUR_MODEL} resumes all its networks; remove it")
        if not is_train and _needs_weights(options) and not options['path'].get('pretrain_network_g'):
            raise UsageError('path.pretrain_network_g: missing; a test needs the weights to test')


def _needs_weights(options: Mapping[str, Any]) -> bool:
    """Say whether the network needs a file; baselines have no parameters or read their own file."""
    return not getattr(ARCH_REGISTRY.get(options['network_g']['type']), 'brings_its_weights', False)


def is_ours(options: Mapping[str, Any]) -> bool:
    """Say whether the run's model is this plugin's."""
    return options.get('model_type') == OUR_MODEL


def is_described(options: Mapping[str, Any]) -> bool:
    """Say whether all keys of the run's model are known here."""
    return is_ours(options) or str(options.get('model_type')) in basicsr_sections.TRAIN


def is_checked(options: Mapping[str, Any], place: tuple[str, ...]) -> bool:
    """Say whether ``check_options`` would refuse an unknown last key of ``place``."""
    if len(place) > 1 and place[0] == 'datasets':
        return _dataset_options(options['datasets'][place[1]].get('type')) is not None
    if len(place) > 1 and place[0].startswith('network_'):
        return True
    return place[0] in ('path', 'logger', 'dist_params') or is_described(options)


def has_option(dataset_type: str, name: str) -> bool:
    """Say whether the dataset's own options are a dataclass with the field ``name``."""
    options_class = getattr(DATASET_REGISTRY.get(dataset_type), 'options_class', None)
    return options_class is not None and name in {field.name for field in dataclasses.fields(options_class)}


def train_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of ``train`` that BasicSR's loop reads, with this plugin's defaults where the yml has none."""
    train = dict(options['train'])
    described = _train_options(options)
    if described is not None:
        settings: Any = read_options(described, train, 'train')
        train.update({key: getattr(settings, key) for key in ('total_iter', 'warmup_iter')})
    return train


def _train_options(options: Mapping[str, Any]) -> type | None:
    if is_ours(options):
        from mmrbgan_model.options import TrainOptions

        return TrainOptions
    return basicsr_sections.TRAIN.get(options['model_type'])


def _dataset_options(kind: Any) -> type | None:
    if not isinstance(kind, str) or kind not in DATASET_REGISTRY:
        return None
    return getattr(DATASET_REGISTRY.get(kind), 'options_class', basicsr_sections.DATASETS.get(kind))


def _check_top(options: Mapping[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(RunOptions)}
    top = {key: value for key, value in options.items() if not str(key).startswith('network_')}
    if not is_described(options):  # other models have keys of their own
        top = {key: value for key, value in top.items() if key in known}
    elif is_ours(options):
        for key in (key for key in options if str(key).startswith('network_') and key not in OUR_NETWORKS):
            raise UsageError(nearest_key(str(key), OUR_NETWORKS))
    read_options(RunOptions, top, '')


def _check_type(registry: Any, name: Any, where: str) -> Any:
    """Return the registered class, or raise with the nearest name."""
    if name is None:
        raise UsageError(f'{where}: missing, and it has no default')
    for full_name in (name, f'{name}_basicsr'):
        if isinstance(name, str) and full_name in registry:
            return registry.get(full_name)
    raise UsageError(f'{where}: {nearest_key(str(name), registry.keys())}'.replace('unknown key', 'unknown name'))


def _check_keys(section: Any, known: Iterable[str], where: str) -> None:
    if not isinstance(section, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {section!r}')
    for key in section:
        if key not in known:
            raise UsageError(f'{where}: {nearest_key(str(key), known)}')


def _check_network(options: Mapping[str, Any], where: str) -> None:
    section = options[where]
    if not isinstance(section, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {section!r}')
    network = _check_type(ARCH_REGISTRY, section.get('type'), f'{where}.type')
    check_arguments(network, {key: value for key, value in section.items() if key != 'type'}, where)
    wanted = [-1, 1] if is_ours(options) else [0, 1]
    has_range = 'image_range' in inspect.signature(network).parameters and is_described(options)
    if has_range and list(section.get('image_range', (-1, 1))) != wanted:
        raise UsageError(f"{where}.image_range: {options['model_type']}'s images are {wanted}, so must these be")


def _check_path(options: Mapping[str, Any]) -> None:
    paths = options['path']
    if not isinstance(paths, Mapping):
        raise UsageError(f'path: expected keys and values, found {paths!r}')
    own = {key: value for key, value in paths.items() if not str(key).startswith(tuple(PATH_KEYS))}
    read_options(PathOptions, own, 'path')
    for key, value in paths.items():
        for prefix, (hint, _) in PATH_KEYS.items():
            if key.startswith(prefix):
                convert(value, hint, f'path.{key}')
                _check_path_network(key, prefix, options)
        is_file = key == 'resume_state' or key.startswith('pretrain_network_')
        if is_file and value is not None and not Path(str(value)).expanduser().is_file():
            raise UsageError(f'path.{key}: there is no file {value}; correct the path or set it to ~ (nothing)')
    for key in (key for key in paths if key.startswith('param_key_') and paths[key] is not None):
        _check_entry(paths[key], paths.get(key.replace('param_key_', 'pretrain_network_')), f'path.{key}')


def _check_path_network(key: str, prefix: str, options: Mapping[str, Any]) -> None:
    """Refuse a key of a network that the run's model cannot have."""
    networks = {name.removeprefix('network_') for name in options if str(name).startswith('network_')}
    if is_ours(options):
        networks |= {name.removeprefix('network_') for name in OUR_NETWORKS}
        networks |= {f'd_{component.name}' for component in COMPONENTS}
    if is_described(options) and key.removeprefix(prefix) not in networks:
        raise UsageError(f'path: {nearest_key(key, {prefix + name for name in networks})}')


def _check_entry(name: str, path: str | None, where: str) -> None:
    """Refuse an entry that the file of weights does not have: BasicSR and ours would take another one."""
    if path is None and name not in PLAIN_KEYS:
        raise UsageError(f'{where}: {name!r} names an entry of no file; name the file, or remove {where}')
    found = {} if path is None else read_file(Path(path).expanduser())
    entries = [key for key, value in found.items() if isinstance(value, Mapping)]
    if entries and name not in entries:
        raise UsageError(f'{where}: {path} has no entry {name!r}; it has {", ".join(entries)}')


def _check_datasets(datasets: Any, is_train: bool) -> None:
    if not isinstance(datasets, Mapping) or not datasets:
        raise UsageError('datasets: missing; a run needs at least one section such as datasets.train')
    if is_train and 'train' not in datasets:
        raise UsageError('datasets.train: missing; `basicsr test` runs options without it')
    for phase, section in datasets.items():
        _check_dataset(str(phase), section, is_train)
    names = [section.get('name', phase) for phase, section in datasets.items()]
    for name in (name for name in names if names.count(name) > 1):
        raise UsageError(f'datasets: two sets are called {name!r}, and would write to one folder; rename one')


def _check_dataset(phase: str, options: Any, is_train: bool) -> None:
    where = f'datasets.{phase}'
    own = phase.split('_', maxsplit=1)[0]
    if own not in (('train', 'val') if is_train else ('train', 'val', 'test')):
        raise UsageError(f'{where}: unknown phase; use train, val, val_2, ... to train and test, test_2, ... to test')
    if not isinstance(options, Mapping):
        raise UsageError(f'{where}: expected keys and values, found {options!r}')
    if options.get('phase', own) != own:
        raise UsageError(f'{where}.phase: {options["phase"]!r} is not that of the section, {own!r}; remove it')
    kind = _check_type(DATASET_REGISTRY, options.get('type'), f'{where}.type')
    described = _dataset_options(options['type'])
    if described is not None:
        read_options(described, options, where)
    if not hasattr(kind, 'options_class'):
        for key in (key for key in options if str(key).startswith('dataroot')):
            if options[key] is not None and not Path(str(options[key])).expanduser().exists():
                raise UsageError(f'{where}.{key}: there is no {options[key]}; correct the path or fetch the data')


def _check_sizes(options: Mapping[str, Any]) -> None:
    """Refuse faces or critics of another size than the network's, where both have one."""
    wanted = _own_size(options, 'network_g')
    if wanted is None:
        return
    for phase, section in options['datasets'].items():
        found = section.get('image_size')
        if found is not None and found != wanted:
            raise UsageError(
                f'datasets.{phase}.image_size: {found}, but network_g.out_size is {wanted}; make them the same'
            )
    found = _own_size(options, 'network_d') if 'network_d' in options else None
    if found is not None and found != wanted:
        raise UsageError(f'network_d.out_size: {found}, but network_g.out_size is {wanted}; make them the same')


def _own_size(options: Mapping[str, Any], key: str) -> int | None:
    parameters = inspect.signature(ARCH_REGISTRY.get(options[key]['type'])).parameters
    if 'out_size' not in parameters:
        return None
    return int(options[key].get('out_size', parameters['out_size'].default))


def _check_train(options: Mapping[str, Any]) -> None:
    if not isinstance(options.get('train'), Mapping):
        raise UsageError('train: missing; `basicsr test` runs options without it')
    total = train_defaults(options).get('total_iter')
    if isinstance(total, bool) or not isinstance(total, int | float) or total < 1 or total != int(total):
        raise UsageError(f'train.total_iter: expected a whole number of iterations, found {total!r}')


def _check_val(options: Mapping[str, Any]) -> None:
    val = options.get('val') or {}
    if not is_described(options):
        known = {field.name for field in dataclasses.fields(ValOptions)}
        val = {key: value for key, value in val.items() if key in known}
    settings: ValOptions = read_options(ValOptions, val, 'val')
    for key in (key for key in ('sheet_faces', 'group_pattern') if key in val and not is_ours(options)):
        raise UsageError(f'val.{key}: {options["model_type"]} has no such key; remove it')
    for name, entry in (settings.metrics or {}).items():
        convert(name, str, 'val.metrics: a name')
        metric_options.complete(entry, f'val.metrics.{name}')
