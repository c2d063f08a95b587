"""The entries of ``val.metrics``: what each metric's options may be, which way is better, how it is called."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from mmrbgan_arch import basicsr_bridge
from mmrbgan_arch.support.errors import UsageError, nearest_key
from mmrbgan_arch.support.option_reader import check_arguments, convert, read_options
from mmrbgan_arch.support.ranges import Range

from . import SET_METRICS
from .fid import FIDOptions

Border = Annotated[int, Range(0, 1024)]
Better = Literal['higher', 'lower']
LOWER_IS_BETTER = frozenset(
    (
        *('calculate_niqe', 'calculate_niqe_fast', 'calculate_lpips', 'calculate_landmark_distance'),
        *('calculate_skin_difference', 'calculate_lite0_distance', *SET_METRICS),
    )
)
"""What needs no ``better: lower``; calculate_identity's quantity decides."""
OF_BASICSR: dict[str, dict[str, tuple[Any, Any]]] = {
    'calculate_psnr': {'crop_border': (Border, 0), 'test_y_channel': (bool, False)},
    'calculate_ssim': {'crop_border': (Border, 0), 'test_y_channel': (bool, False)},
    'calculate_niqe': {'crop_border': (Border, 0), 'convert_to': (Literal['y', 'gray'], 'y')},
}
"""BasicSR's metric -> its options, with type and default: in BasicSR some have no default, and none a type."""
PICTURES = frozenset(('img', 'img1', 'img2'))


def complete(options: Any, where: str) -> dict[str, Any]:
    """Return an entry with the defaults that its metric cannot do without, and with ``better``.

    Raises:
        UsageError: no type, one that nobody registered, an unknown option, or a wrong value.
    """
    kind = _kind(options, where)
    own = {key: value for key, value in options.items() if key not in ('type', 'better')}
    if kind in OF_BASICSR:
        known = OF_BASICSR[kind]
        for key, value in own.items():
            if key not in known:
                raise UsageError(f'{where}: {nearest_key(str(key), {*known, "better", "type"})}')
            convert(value, known[key][0], f'{where}.{key}')
        own = {**{key: default for key, (_, default) in known.items() if key == 'crop_border'}, **own}
    elif kind in SET_METRICS:
        read_options(FIDOptions, own, where)
    else:
        ours = basicsr_bridge.recorded('metric', kind) is not None
        check_arguments(function_of(kind), own, where, PICTURES, strict=ours)
    _check_files(own, where)
    better = convert(options.get('better', direction(kind, own)), Better, f'{where}.better')
    if _is_known(kind) and better != direction(kind, own):
        raise UsageError(f'{where}.better: {better} is the wrong way round for {kind}; remove it')
    return {'type': kind, **own, **({'better': better} if 'better' in options or better == 'lower' else {})}


def direction(kind: str, own: Mapping[str, Any]) -> str:
    """Return which way is better, 'higher' or 'lower', for a metric with these options."""
    if kind == 'calculate_identity':
        return 'higher' if own.get('quantity') == 'cosine' else 'lower'
    return 'lower' if kind in LOWER_IS_BETTER else 'higher'


def function_of(kind: str) -> Callable[..., float]:
    """Return the registered function of a metric of pictures."""
    from basicsr.metrics import METRIC_REGISTRY

    result: Callable[..., float] = METRIC_REGISTRY.get(kind)
    return result


def calculate(kind: str, picture: np.ndarray, gt: np.ndarray | None, own: Mapping[str, Any]) -> float | None:
    """Score BGR uint8 (h, w, 3); None where the metric compares and there is no ground truth.

    Forks name the pictures ``img1`` and ``img2``, and some ask for ``crop_border``.
    """
    function = function_of(kind)
    parameters = inspect.signature(function).parameters
    first = 'img1' if 'img1' in parameters else 'img'
    arguments: dict[str, Any] = {first: picture}
    compared = parameters.get('img2')
    if gt is not None:
        arguments |= {'img2': gt} if compared is not None or takes_all(parameters) else {}
    elif compared is not None and compared.default is compared.empty:
        return None
    border = parameters.get('crop_border')
    plain = {'crop_border': 0} if border is not None and border.default is border.empty else {}
    return float(function(**arguments, **{**plain, **own}))


def score_bgr(picture: np.ndarray, gt: np.ndarray | None, options: Mapping[str, Any]) -> float | None:
    """Score BGR uint8 pictures by an entry of ``val.metrics`` as BasicSR's models do, which need what is compared."""
    own = {key: value for key, value in options.items() if key != 'type'}
    data = {'img': picture} if gt is None else {'img': picture, 'img2': gt}
    return float(function_of(options['type'])(**data, **own))


def takes_all(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Say whether a function takes keywords that it does not name."""
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())


def _check_files(own: Mapping[str, Any], where: str) -> None:
    """Refuse files that are named and are not there."""
    for key in (key for key in ('weights', 'statistics') if own.get(key) is not None):
        for name in own[key] if isinstance(own[key], list | tuple) else [own[key]]:
            if not Path(str(name)).expanduser().is_file():
                raise UsageError(f'{where}.{key}: there is no file {name}; correct the path or remove it')


def _is_known(kind: str) -> bool:
    """Say whether the direction of a metric is known here: it is ours or BasicSR's, not a stranger's."""
    ours = {function.__name__ for function in basicsr_bridge.all_recorded('metric')}
    return kind in ours or kind in OF_BASICSR or kind in LOWER_IS_BETTER


def _kind(options: Any, where: str) -> str:
    if not isinstance(options, Mapping) or not isinstance(options.get('type'), str):
        raise UsageError(f'{where}: expected keys and values with a type, such as {{type: calculate_psnr}}')
    kind: str = options['type']
    if kind in SET_METRICS:
        return kind
    basicsr_bridge.connect()
    from basicsr.metrics import METRIC_REGISTRY

    if kind not in METRIC_REGISTRY:
        known = {*SET_METRICS, *METRIC_REGISTRY.keys()}
        raise UsageError(f'{where}.type: {nearest_key(kind, known)}'.replace('unknown key', 'unknown name'))
    return kind
