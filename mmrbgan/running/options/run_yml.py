"""Reads the yml of a run: safe YAML in which ``1e-4`` is a number, overrides without eval, every default filled in."""

import dataclasses
import random
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_arch.support.option_reader import read_options

from .sections import LoggerOptions


class _Loader(yaml.SafeLoader):
    """Safe YAML (no tag builds an object) that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a dict, or raise where a key comes twice."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # the parent refuses it
            if key in seen and key != '<<':
                raise yaml.constructor.ConstructorError(None, None, f'the key {key!r} comes twice', key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 takes 1e-4 for a string, because it has no dot.
_Loader.add_implicit_resolver(
    'tag:yaml.org,2002:float',
    re.compile(r'^[-+]?(\d[\d_]*\.?[\d_]*([eE][-+]?\d+)|\d[\d_]*\.[\d_]*|\.\d[\d_]*([eE][-+]?\d+)?)$'),
    list('-+0123456789.'),
)


def load_yml(path: str | Path) -> dict[str, Any]:
    """Read an option file.

    Raises:
        UsageError: the file is missing, is no YAML, holds a tag, or is not a mapping.
    """
    try:
        text = Path(path).expanduser().read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'not a text file'
        raise UsageError(
            f'{path}: {reason}; after -opt give the path of an option file or a name of `mmrbgan options list`'
        ) from error
    options = _parse(text, str(path))
    if not isinstance(options, dict):
        raise UsageError(f'{path}: expected keys and values, such as `name: my_run`')
    return options


def apply_overrides(options: dict[str, Any], overrides: Sequence[str]) -> list[tuple[str, ...]]:
    """Set ``a:b=value`` entries of --force_yml in ``options``; sections must exist, a last key may be new.

    Returns:
        the places whose key was not there before; the caller must know them from elsewhere or refuse them.
    """
    created = []
    for entry in overrides:
        place, equals, text = entry.partition('=')
        keys = tuple(key.strip() for key in place.split(':'))
        if not equals or not all(keys):
            raise UsageError(f'--force_yml {entry!r}: expected section:key=value')
        section = _descend(options, keys, entry)
        if keys[-1] not in section:
            created.append(keys)
        section[keys[-1]] = None if text.strip().lower() == 'none' else _parse(text, f'--force_yml {entry!r}')
    return created


def refuse_unknown(options: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Raise for an override of a key that nothing knows, naming the nearest one beside it."""
    section: Mapping[str, Any] = options
    for key in keys[:-1]:
        section = section[key]
    raise UsageError(f'--force_yml {":".join(keys)}: {nearest_key(keys[-1], set(section) - {keys[-1]})}')


def fill_defaults(options: Mapping[str, Any], is_train: bool) -> dict[str, Any]:
    """Return a copy of ``options`` with every key that BasicSR expects to be there."""
    filled = {key: dict(value) if isinstance(value, Mapping) else value for key, value in options.items()}
    filled.setdefault('num_gpu', 'auto')
    filled['path'] = {} if filled.get('path') is None else filled['path']
    filled['logger'] = dataclasses.asdict(read_options(LoggerOptions, filled.get('logger'), 'logger'))
    if filled.get('manual_seed') is None:
        filled['manual_seed'] = random.SystemRandom().randint(1, 10000)
    if filled.get('val') is not None or not is_train:
        filled['val'] = _fill_val(filled.get('val'), filled['logger'])
    return filled


def _fill_val(val: Any, logger: Mapping[str, Any]) -> Any:
    plain = {'val_freq': logger['save_checkpoint_freq'], 'save_img': False, 'suffix': None}
    plain['pbar'] = sys.stderr.isatty()
    if val is not None and not isinstance(val, Mapping):
        return val  # for the checks to refuse
    given = val or {}
    return {**given, **{key: value for key, value in plain.items() if given.get(key) is None}}


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        line = f', line {mark.line + 1}' if mark else ''
        problem = getattr(error, 'problem', None) or 'not valid YAML'
        raise UsageError(f'{where}{line}: {problem}') from error
    except (ValueError, OverflowError) as error:  # a date that is none, !!int before a word
        raise UsageError(f'{where}: {error}') from error
    except RecursionError as error:
        raise UsageError(f'{where}: nested too deeply') from error


def _descend(options: dict[str, Any], keys: tuple[str, ...], entry: str) -> dict[str, Any]:
    section = options
    for key in keys[:-1]:
        if key not in section:
            raise UsageError(f'--force_yml {entry!r}: {nearest_key(key, section)}')
        if not isinstance(section[key], dict):
            raise UsageError(f'--force_yml {entry!r}: {key} holds a value, not a section')
        section = section[key]
    return section
