"""The photographs of a folder with what is known of them: ready landmarks, FFHQ's list, the split they belong to."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmrbgan_arch.support.errors import UsageError

from ..components import read_landmark_rows
from ..photograph_files import Listing, list_photographs, tell_skipped

FFHQ_SIDE, FFHQ_WILD = 1024, 'in-the-wild-images'
FFHQ_SPLITS = {'training': 'train', 'validation': 'val'}


@dataclasses.dataclass(frozen=True, eq=False)
class Photograph:
    """One file to be searched for faces.

    Attributes:
        name: relative to the folder, with slashes.
        path: where it lies.
        stem: what its crops are called, before ``_0.png``; no two photographs share one.
        split: 'train' or 'val'.
        landmarks: of each face, where they are given.
        landmarks_side: side in pixels of the picture they refer to, if that is not the photograph itself.
    """

    name: str
    path: Path
    stem: str
    split: str
    landmarks: tuple[np.ndarray, ...] | None = None
    landmarks_side: int | None = None


def find_photographs(
    folder: Path, landmarks: Path | None = None, val_share: float = 0.05, listing: Listing | None = None
) -> list[Photograph]:
    """Return the photographs under ``folder``, sorted by name.

    Args:
        folder: searched with all folders in it.
        landmarks: a landmarks.csv, or FFHQ's ``ffhq-dataset-v2.json``, whose own split is kept
            unless ``val_share`` is 0.
        val_share: about this share of the photographs goes to validation, and at least one (0: none); which ones
            follows from their names.
        listing: of the folder, where it was listed before.

    Raises:
        UsageError: no such folder, no image in it, or a damaged file of landmarks.
    """
    if not folder.is_dir():
        raise UsageError(f'PHOTOS: no folder {str(folder)!r}')
    listing = listing or list_photographs(folder)
    names = listing.names
    if not names:
        skipped = tell_skipped(kind for _, kind in listing.skipped)
        raise UsageError(f'PHOTOS: no image in {str(folder)!r}' + (f' ({skipped})' if skipped else ''))
    known, splits = _read_landmarks(landmarks) if landmarks else ({}, {})
    inside = f'{FFHQ_WILD}/' if FFHQ_WILD in folder.resolve().parts else ''
    val_share = max(val_share, min(map(number_of, names)) * (1 + 1e-9)) if val_share and len(names) > 1 else val_share
    return [
        Photograph(
            name=name,
            path=folder / name,
            stem=stem,
            split=(splits.get(_ffhq_key(inside + name)) if val_share else None) or split_of(name, val_share),
            landmarks=_landmarks_of(name, _ffhq_key(inside + name), known) if landmarks else None,
            landmarks_side=FFHQ_SIDE if splits and '/' not in _ffhq_key(inside + name) else None,
        )
        for name, stem in zip(names, unique_stems(names), strict=True)
    ]


def split_of(name: str, val_share: float) -> str:
    """Return 'val' for a ``val_share`` of all names, else 'train'; it does not depend on the other names."""
    return 'val' if number_of(name) < val_share else 'train'


def number_of(name: str) -> float:
    """Return a number in [0, 1) that belongs to the name."""
    return int.from_bytes(hashlib.sha256(name.encode('utf-8', 'surrogateescape')).digest()[:6], 'big') / 2**48


def unique_stems(names: list[str]) -> list[str]:
    """Return each name without its suffix, or with it where two would be the same (``a.jpg`` and ``a.png``)."""
    stems = [str(PurePosixPath(name).with_suffix('')) for name in names]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[stem.lower()] = counts.get(stem.lower(), 0) + 1
    return [stem if counts[stem.lower()] == 1 else name for name, stem in zip(names, stems, strict=True)]


def _landmarks_of(name: str, ffhq_key: str, known: dict[str, list[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """Look a photograph up by its whole name, by its last folder and file (FFHQ), or by its file alone."""
    for key in (name, ffhq_key, PurePosixPath(name).name):
        if key in known:
            return tuple(known[key])
    return ()


def _ffhq_key(name: str) -> str:
    """Return 'in-the-wild/00000.png' for FFHQ's photographs and '00000.png' for its aligned faces."""
    path = PurePosixPath(name)
    return f'in-the-wild/{path.name}' if FFHQ_WILD in path.parts else path.name


def _read_landmarks(path: Path) -> tuple[dict[str, list[np.ndarray]], dict[str, str]]:
    """Return name -> landmarks of each face, and name -> split where the file has one."""
    if not path.is_file():
        raise UsageError(f'--landmarks: no file {str(path)!r}')
    known: dict[str, list[np.ndarray]] = {}
    splits: dict[str, str] = {}
    try:
        if path.suffix == '.json':
            for name, points, split in read_ffhq(path):
                known[name], splits[name] = [points], split
        else:
            for name, points in read_landmark_rows(path):
                known.setdefault(name, []).append(points)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UsageError(
            f'{path}: neither landmarks.csv nor ffhq-dataset-v2.json ({error}); see docs/data.md'
        ) from error
    return known, splits


def read_ffhq(path: Path) -> Iterator[tuple[str, np.ndarray, str]]:
    """Yield key (see ``_ffhq_key``), 68 landmarks and split for every face of FFHQ's list, aligned and in the wild.

    The file has 255 MB; entries are decoded one by one, so that beside its text only the landmarks are held.

    Raises:
        ValueError: not that file.
    """
    for entry in _json_values(path.read_text(encoding='utf-8')):
        split = FFHQ_SPLITS[entry['category']]
        aligned, wild = entry['image'], entry['in_the_wild']
        yield PurePosixPath(aligned['file_path']).name, _points(aligned), split
        yield f'in-the-wild/{PurePosixPath(wild["file_path"]).name}', _points(wild), split


def _points(part: dict[str, Any]) -> np.ndarray:
    return np.array(part['face_landmarks'], np.float32).reshape(68, 2)


def _json_values(text: str) -> Iterator[Any]:
    """Yield the values of the JSON object in ``text`` without holding them all."""
    decoder, place = json.JSONDecoder(), text.index('{') + 1
    while True:
        while text[place] in ' \t\r\n,':
            place += 1
        if text[place] == '}':
            return
        _, place = decoder.raw_decode(text, place)
        value, place = decoder.raw_decode(text, text.index(':', place) + 1 + _spaces(text, text.index(':', place) + 1))
        yield value


def _spaces(text: str, place: int) -> int:
    return len(text[place : place + 64]) - len(text[place : place + 64].lstrip())
