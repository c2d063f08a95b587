"""The JSON schema of option files, for editors, made from the descriptions that the checks read."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.option_help import argument_help, field_help, summary

from . import basicsr_sections
from .option_checks import OUR_MODEL, OUR_NETWORKS
from .sections import PATH_KEYS, LoggerOptions, PathOptions, ProcessOptions, RunOptions, ValOptions

Schema = dict[str, Any]
_PLAIN = {int: 'integer', float: 'number', str: 'string', bool: 'boolean', type(None): 'null'}


def make_schema() -> Schema:
    """Return the schema of a whole option file; everything must be registered (``mmrbgan.plugin``)."""
    top = of_dataclass(RunOptions)
    top['properties'] |= {
        'path': of_path(),
        'logger': or_null(of_dataclass(LoggerOptions)),
        'dist_params': or_null(of_dataclass(ProcessOptions)),
        'datasets': {'type': 'object', 'patternProperties': {'^(train|val|test)(_.*)?$': _by_type(datasets())}},
        'val': or_null(_val()),
    }
    described = [_for_model(OUR_MODEL, _train_options())]
    described += [_for_model(model, options) for model, options in basicsr_sections.TRAIN.items()]
    known = {'required': ['model_type'], 'properties': {'model_type': {'enum': [OUR_MODEL, *basicsr_sections.TRAIN]}}}
    return {
        '$schema': 'https://json-schema.org/draft/2020-12/schema',
        'title': 'Option file of MMRBGAN for BasicSR',
        'type': 'object',
        'allOf': [{'if': known, 'then': {'allOf': described}}],
        'properties': {**top['properties'], 'train': {'type': ['object', 'null']}},
        'required': top['required'],
        '$defs': {'network': _by_type(networks())},
    }


def of_dataclass(cls: Any) -> Schema:
    """Return the schema of a section that a dataclass describes; other keys are refused."""
    hints, texts = typing.get_type_hints(cls, include_extras=True), field_help(cls)
    properties, required = {}, []
    for field in (field for field in dataclasses.fields(cls) if field.init):
        described = of_hint(hints[field.name])
        if field.name in texts:
            described = described | {'description': texts[field.name]}
        if field.default is not dataclasses.MISSING:
            default = _plain(field.default)
            described |= {} if default is None else {'default': default}
        elif field.default_factory is dataclasses.MISSING:
            required.append(field.name)
        properties[field.name] = described
    return _object(properties, required) | {'description': summary(cls)}


def of_function(function: Callable[..., Any], without: frozenset[str] = frozenset(), strict: bool = False) -> Schema:
    """Return the schema of a section that becomes a function's keyword arguments, beside ``type``."""
    target: Any = function.__init__ if inspect.isclass(function) else function
    hints, texts = typing.get_type_hints(target, include_extras=True), argument_help(function)
    properties: Schema = {'type': {'const': function.__name__}}
    required, is_open = ['type'], False
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = not strict
        elif name not in without:
            properties[name] = ({'description': texts[name]} if name in texts else {}) | of_hint(hints.get(name, Any))
            if parameter.default is parameter.empty:
                required.append(name)
            elif (default := _plain(parameter.default)) is not None:
                properties[name]['default'] = default
    return _object(properties, required) | ({'additionalProperties': True} if is_open else {})


def of_hint(hint: Any) -> Schema:
    """Return the schema of an annotation that the option reader knows."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return {}
    if origin is Annotated:
        rules = [rule.schema() for rule in arguments[1:] if hasattr(rule, 'schema')]
        return {key: value for schema in (of_hint(arguments[0]), *rules) for key, value in schema.items()}
    if origin in (typing.Union, types.UnionType):
        return _any_of([of_hint(argument) for argument in arguments])
    if origin is typing.Literal:
        return {'enum': list(arguments)}
    if origin is tuple:
        return _of_tuple(arguments)
    if dataclasses.is_dataclass(hint):
        return of_dataclass(hint)
    return {'type': _PLAIN.get(origin or hint, 'object')}


def of_path() -> Schema:
    """Return the schema of ``path``, whose keys hold networks' names."""
    own = of_dataclass(PathOptions)
    patterns = {f'^{prefix}': {'description': text, **of_hint(hint)} for prefix, (hint, text) in PATH_KEYS.items()}
    return or_null(own | {'patternProperties': patterns})


def or_null(schema: Schema) -> Schema:
    """Return the schema of a section that may be left empty."""
    return schema | {'type': ['object', 'null']}


def _of_tuple(arguments: tuple[Any, ...]) -> Schema:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return {'type': 'array', 'items': of_hint(arguments[0])}
    items = [of_hint(argument) for argument in arguments]
    return {'type': 'array', 'prefixItems': items, 'minItems': len(items), 'maxItems': len(items)}


def _any_of(schemas: list[Schema]) -> Schema:
    """Join alternatives, into one entry where only null is added to a plain type."""
    others = [schema for schema in schemas if schema != {'type': 'null'}]
    if len(others) == len(schemas) - 1 == 1 and isinstance(others[0].get('type'), str):
        return others[0] | {'type': [others[0]['type'], 'null']}
    return {'anyOf': schemas}


def _object(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    return {
        'type': 'object',
        'properties': dict(properties),
        'required': required,
        'additionalProperties': False,
    }


def _by_type(kinds: Mapping[str, Schema]) -> Schema:
    """Return the schema of a section whose ``type`` chooses what else it may hold; unknown types may hold anything."""
    chosen = [
        {'if': {'required': ['type'], 'properties': {'type': {'const': kind}}}, 'then': schema}
        for kind, schema in kinds.items()
    ]
    return {'type': 'object', 'required': ['type'], 'properties': {'type': {'type': 'string'}}, 'allOf': chosen}


def networks() -> dict[str, Schema]:
    """Return network -> the schema of its section; those of BasicSR and other plugins may hold anything."""
    return {cls.__name__: of_function(cls) for cls in basicsr_bridge.all_recorded('arch')}


def datasets() -> dict[str, Schema]:
    """Return dataset -> the schema of its section."""
    from basicsr.utils.registry import DATASET_REGISTRY

    registered = {name: getattr(cls, 'options_class', None) for name, cls in DATASET_REGISTRY}
    described = {name: options for name, options in registered.items() if options} | basicsr_sections.DATASETS
    return {name: of_dataclass(options) for name, options in sorted(described.items())}


def metrics() -> dict[str, Schema]:
    """Return metric -> the schema of its entry in ``val.metrics``."""
    from mmrbgan_model.metrics import SET_METRICS
    from mmrbgan_model.metrics.fid import FIDOptions
    from mmrbgan_model.metrics.metric_options import OF_BASICSR, PICTURES, Better, function_of

    better = {'better': {'description': "Which way is better; default: the metric's own.", **of_hint(Better)}}
    found = {}
    for function in basicsr_bridge.all_recorded('metric'):
        found[function.__name__] = of_function(function_of(function.__name__), PICTURES, strict=True)
    for kind, known in OF_BASICSR.items():
        own = {key: of_hint(hint) | {'default': default} for key, (hint, default) in known.items()}
        found[kind] = _object({'type': {'const': kind}, **own}, ['type'])
    for kind in SET_METRICS:
        found[kind] = of_dataclass(FIDOptions)
        found[kind]['properties'] = {'type': {'const': kind}, **found[kind]['properties']}
    for schema in found.values():
        schema['properties'] |= better
    return dict(sorted(found.items()))


def _val() -> Schema:
    described = of_dataclass(ValOptions)
    entry = _by_type(metrics())
    described['properties']['metrics'] = {'type': ['object', 'null'], 'additionalProperties': entry}
    return described


def _train_options() -> type:
    from mmrbgan_model.options import TrainOptions

    return TrainOptions


def _for_model(model: str, train: type) -> Schema:
    """Return what the files of one model hold at the top."""
    keys = OUR_NETWORKS if model == OUR_MODEL else ('network_g',)
    known = dict.fromkeys((field.name for field in dataclasses.fields(RunOptions)), True)
    properties = {**known, **{key: {'$ref': '#/$defs/network'} for key in keys}, 'train': of_dataclass(train)}
    return {
        'if': {'properties': {'model_type': {'const': model}}},
        'then': {'required': ['network_g'], 'properties': properties, 'additionalProperties': False},
    }


def _plain(value: Any) -> Any:
    """Return a default as JSON holds it; None for a section's, which has its own defaults."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | str) else None
