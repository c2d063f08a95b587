"""What an evaluation found, and what is needed to check it: set hashes, N, backbones, weights, versions; as JSON."""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import write_text, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json
from mmrbgan_arch.support.option_reader import read_options

FORMAT = 'mmrbgan-evaluation-1'
RESAMPLES = 1000  # of the bootstrap
NAME_ANOTHER = 'name another file with --out'
PACKAGES = ('mmrbgan', 'basicsr', 'torch', 'torchvision', 'numpy', 'scipy', 'scikit-image', 'opencv-python', 'dlib-bin')


@dataclasses.dataclass(frozen=True)
class Summary:
    """A metric over faces: the mean of the finite values, its 95 % interval (bootstrap), and counts."""

    mean: float | None
    low: float | None
    high: float | None
    count: int
    infinite: int = 0


@dataclasses.dataclass(frozen=True)
class Part:
    """Some of the faces, by how far they are turned or by group, and their summaries."""

    label: str
    count: int
    summaries: dict[str, Summary]


@dataclasses.dataclass(frozen=True)
class Record:
    """One method on one set.

    Attributes:
        method: its name in tables.
        table: which table it belongs to, one of ``evaluate.TABLES``.
        count: faces scored.
        folders: kind -> where the pictures lay ('restored', 'gt', 'lq').
        hashes: kind -> hash of names and bytes of the files scored.
        excluded: (name, reason) of every face not scored.
        summaries: column -> over all faces.
        poses: by how far the face is turned; empty if not asked for.
        pose_source: where the landmarks came from.
        provenance: metric -> what computed it.
        left_out: metric -> why it is missing.
        faces: per face: name, yaw if known, and every column.
        weights: file and hash of the method's network, if given.
        device: where the metrics ran.
        versions: package -> version.
        groups: name of a grouping -> its groups; empty if not asked for.
    """

    method: str
    table: str
    count: int
    folders: dict[str, str]
    hashes: dict[str, str]
    excluded: list[tuple[str, str]]
    summaries: dict[str, Summary]
    poses: list[Part]
    pose_source: str | None
    provenance: dict[str, str]
    left_out: dict[str, str]
    faces: list[dict[str, Any]]
    weights: str | None
    device: str
    versions: dict[str, str]
    groups: dict[str, list[Part]] = dataclasses.field(default_factory=dict)

    @property
    def set_hash(self) -> str:
        """The hash that two records of one set share: the ground truth's, else the input's, else the result's own."""
        return next(self.hashes[kind] for kind in ('gt', 'lq', 'restored') if kind in self.hashes)


def summarise(values: Sequence[float]) -> Summary:
    """Mean and bootstrap interval of the finite values; infinite ones (equal pictures) are counted apart."""
    array = np.asarray(values, float)
    finite = array[np.isfinite(array)]
    infinite = int(np.isinf(array).sum())
    if not len(finite):
        return Summary(math.inf if infinite else None, None, None, len(array), infinite)
    if len(finite) < 2:
        return Summary(float(finite[0]), None, None, len(array), infinite)
    rng = np.random.default_rng(0)
    means = np.array([finite[rng.integers(0, len(finite), len(finite))].mean() for _ in range(RESAMPLES)])
    low, high = np.percentile(means, [2.5, 97.5])
    return Summary(float(finite.mean()), float(low), float(high), len(array), infinite)


def versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def file_name(method: str) -> str:
    """Return the default name of a method's record; signs that a file name cannot hold become codes such as %2F."""
    return re.sub(r'[/\\:*?"<>|\x00-\x1f]', lambda sign: f'%{ord(sign[0]):02X}', method) + '.json'


def check_writable(path: Path, way_out: str = NAME_ANOTHER) -> None:
    """Say before the work whether a file can go to ``path``; nothing is made.

    Raises:
        UsageError: it is a folder, or cannot be written.
    """
    if os.path.isdir(path):
        raise UsageError(f'{path}: is a folder; {way_out}')
    place = next(one for one in (path, *path.absolute().parents) if os.path.exists(one))
    if not os.access(place, os.W_OK) or not (place is path or os.path.isdir(place)):
        raise UsageError(f'{path}: cannot be written because of {place}; {way_out}')


def free_path(wanted: Path, record: Record) -> Path:
    """Return ``wanted``, or where a record of another set is there, the name beside it that ends in the set's hash."""
    if not os.path.isfile(wanted) or _set_of(wanted) in (None, record.set_hash):
        return wanted
    return wanted.with_name(f'{wanted.stem}-{record.set_hash[:8]}{wanted.suffix}')


def _set_of(path: Path) -> str | None:
    with contextlib.suppress(UsageError):
        return read_record(path).set_hash
    return None


def write_record(path: Path, record: Record) -> None:
    """Write the record as JSON, making folders.

    Raises:
        UsageError: it cannot be written.
    """
    content = {'format': FORMAT, **dataclasses.asdict(record)}
    with writing(path, NAME_ANOTHER):
        write_text(path, json.dumps(_plain(content), indent=1, ensure_ascii=False) + '\n')


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        UsageError: missing, or not a record.
    """
    try:
        content = parse_json(path.read_bytes())
        if content.pop('format', None) != FORMAT:
            raise ValueError(f'not in the form {FORMAT}')
        content['summaries'] = _summaries(content['summaries'])
        content['poses'] = _read_parts(content['poses'])
        content['groups'] = {name: _read_parts(parts) for name, parts in content.get('groups', {}).items()}
        content['excluded'] = [(name, reason) for name, reason in content['excluded']]
        return _checked(read_options(Record, content, ''))
    except OSError as error:
        raise UsageError(f'{path}: {error.strerror or error}; `mmrbgan evaluate` writes such a file') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'{path}: not a record of `mmrbgan evaluate` ({error})') from error


def _read_parts(content: Sequence[Mapping[str, Any]]) -> list[Part]:
    return [read_options(Part, {**one, 'summaries': _summaries(one['summaries'])}, 'part') for one in content]


def _checked(record: Record) -> Record:
    """Raise a ValueError where a field holds something else than the report takes it for."""
    tables = ('folders', 'hashes', 'provenance', 'versions', 'left_out')
    wrong = [name for name in tables if not _are_texts(getattr(record, name).values())]
    wrong += [] if all(map(_are_texts, record.excluded)) else ['excluded']
    named = all(isinstance(row, dict) and isinstance(row.get('name'), str) for row in record.faces)
    wrong += [] if named else ['faces']
    wrong += [name for name in ('folders', 'hashes') if 'restored' not in getattr(record, name)]
    if wrong:
        raise ValueError(f'{", ".join(wrong)}: not of the right kind')
    return record


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _summaries(content: Mapping[str, Mapping[str, Any]]) -> dict[str, Summary]:
    return {name: _summary(one, name) for name, one in content.items()}


def _summary(content: Mapping[str, Any], name: str) -> Summary:
    if content['mean'] != 'inf':
        return read_options(Summary, content, name)
    return dataclasses.replace(read_options(Summary, {**content, 'mean': None}, name), mean=math.inf)


def _plain(value: Any) -> Any:
    """JSON knows no infinity: write it as a word, and NaN as null."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float | np.floating) and not math.isfinite(value):
        return 'inf' if math.isinf(value) else None
    return value
