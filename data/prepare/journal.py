"""What ``prepare`` has done so far: one line of JSON per photograph, so that a stopped run goes on where it stopped."""

import dataclasses
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import append_bytes, write_atomically
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.json_text import parse_json

FILE = 'progress.jsonl'
VOID = (-1, -1)  # the stamp of no file
SPLITS = ('train', 'val')
FINGERPRINT = 32  # bytes


@dataclasses.dataclass(frozen=True, eq=False)
class KeptFace:
    """A crop of the dataset: its file, landmarks in its pixels, and what the report tells of it."""

    file: str
    landmarks: np.ndarray
    source_side: float
    sharpness: float
    fingerprint: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One photograph that is done.

    Attributes:
        photo: its name.
        stamp: size and time of the file; another stamp means another photograph.
        split: 'train' or 'val'.
        kept: its faces in the dataset.
        skipped: (reason, detail) of those that are not.
    """

    photo: str
    stamp: tuple[int, int]
    split: str
    kept: tuple[KeptFace, ...]
    skipped: tuple[tuple[str, str], ...]


class Journal:
    """The entries of a dataset folder, read at the start and appended to.

    Args:
        folder: of the dataset.
        settings: what the dataset was made with; the first line of the file.

    Raises:
        UsageError: the folder holds a dataset made with other settings, or a line is damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / FILE
        self.entries: dict[str, Entry] = {}
        lines = self._read_lines()
        if lines:
            self._check(self._parse(1, lines[0]), settings, folder)
        for number, line in enumerate(lines[1:], 2):
            entry = self._parse(number, line, _from_json)
            self.entries[entry.photo] = entry
        self._settings = settings
        self._write(lines or [_line(settings)])

    def is_done(self, photo: str, stamp: tuple[int, int]) -> bool:
        """Say whether this photograph, as it is now, is done."""
        return photo in self.entries and self.entries[photo].stamp == stamp

    def add(self, entry: Entry) -> None:
        """Note that a photograph is done, on disk before returning."""
        self.entries[entry.photo] = entry
        append_bytes(self.path, _line(_to_json(entry)))

    def void(self, entry: Entry) -> None:
        """Note that a photograph is to be done again; what the entry says of its crops stays known."""
        self.add(dataclasses.replace(entry, stamp=VOID))

    def drop(self, photos: Collection[str]) -> None:
        """Forget photographs, on disk before returning."""
        self.entries = {photo: entry for photo, entry in self.entries.items() if photo not in photos}
        self._write([_line(self._settings), *(_line(_to_json(entry)) for entry in self.entries.values())])

    def _read_lines(self) -> list[bytes]:
        lines = self.path.read_bytes().split(b'\n') if self.path.is_file() else []
        return [line + b'\n' for line in lines[:-1]]  # the last is empty, or cut short by a kill and done again

    def _parse(self, number: int, line: bytes, read: Callable[[Any], Any] = lambda value: value) -> Any:
        try:
            value = parse_json(line.decode('utf-8', 'surrogateescape'))
            if not isinstance(value, dict):
                raise ValueError('no JSON object')
            return read(value)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            reason = ' '.join(str(error).split())[:120]
            raise UsageError(
                f'{self.path}: line {number} is damaged ({reason}); remove the line, whose photograph is then done '
                'again, or the whole folder'
            ) from error

    def _write(self, lines: list[bytes]) -> None:
        write_atomically(self.path, lambda file: file.writelines(lines))

    @staticmethod
    def _check(found: dict[str, Any], settings: dict[str, Any], folder: Path) -> None:
        for key, value in settings.items():
            if found.get(key, value) != value:  # an older file names fewer
                raise UsageError(
                    f'{folder}: was made with {key} {found.get(key)!r} and not {value!r}; '
                    'choose another -o, remove the folder, or give the same options to go on'
                )


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode('utf-8', 'backslashreplace') + b'\n'


def _to_json(entry: Entry) -> dict[str, Any]:
    kept = [
        {
            'file': face.file,
            'landmarks': np.round(face.landmarks, 2).tolist(),
            'source_side': round(face.source_side, 1),
            'sharpness': round(face.sharpness, 1),
            'fingerprint': face.fingerprint.tobytes().hex(),
        }
        for face in entry.kept
    ]
    return {**vars(entry), 'kept': kept}


def _from_json(value: dict[str, Any]) -> Entry:
    size, time = map(int, value['stamp'])
    skipped = tuple((_text(reason), _text(detail)) for reason, detail in value['skipped'])
    if value['split'] not in SPLITS:
        raise ValueError(f'split {value["split"]!r}')
    return Entry(_text(value['photo']), (size, time), value['split'], tuple(map(_face, value['kept'])), skipped)


def _face(value: dict[str, Any]) -> KeptFace:
    landmarks = np.array(value['landmarks'], np.float32)
    fingerprint = np.frombuffer(bytes.fromhex(value['fingerprint']), np.uint8)
    if landmarks.shape not in ((5, 2), (49, 2), (68, 2)) or not np.isfinite(landmarks).all():
        raise ValueError('landmarks must be 5, 49 or 68 points')
    if fingerprint.shape != (FINGERPRINT,):
        raise ValueError(f'a fingerprint has {FINGERPRINT} bytes')
    side, sharpness = float(value['source_side']), float(value['sharpness'])
    if not (math.isfinite(side) and math.isfinite(sharpness)):
        raise ValueError('source_side and sharpness must be finite')
    return KeptFace(_crop_name(value['file']), landmarks, side, sharpness, fingerprint)


def _crop_name(name: Any) -> str:
    """Return the name of a crop below its folder; one that leaves it would let ``prepare`` delete a stranger's file."""
    text = _text(name)
    path = PurePath(text)
    if '..' in path.parts or path.anchor or '\0' in text or not text.endswith('.png'):
        raise ValueError(f'{text!r} is not the name of a crop')
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is not text')
    return value
