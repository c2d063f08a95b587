"""What ``prepare`` has done so far: one line of JSON per photograph, so that a stopped run goes on where it stopped."""

import dataclasses
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import write_atomically
from mmrbgan_arch.support.errors import UsageError

FILE = 'progress.jsonl'
VOID = (-1, -1)  # the stamp of no file


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
        UsageError: the folder holds a dataset made with other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / FILE
        self.entries: dict[str, Entry] = {}
        lines = self.path.read_bytes().splitlines(keepends=True) if self.path.is_file() else []
        if lines and not lines[-1].endswith(b'\n'):
            lines.pop()  # cut short by a kill; its photograph is done again
        if lines:
            self._check(json.loads(lines[0]), settings, folder)
        for line in lines[1:]:
            entry = _from_json(json.loads(line.decode('utf-8', 'surrogateescape')))
            self.entries[entry.photo] = entry
        self._settings = settings
        self._write(lines or [_line(settings)])

    def is_done(self, photo: str, stamp: tuple[int, int]) -> bool:
        """Say whether this photograph, as it is now, is done."""
        return photo in self.entries and self.entries[photo].stamp == stamp

    def add(self, entry: Entry) -> None:
        """Note that a photograph is done, on disk before returning."""
        self.entries[entry.photo] = entry
        with self.path.open('ab') as file:
            file.write(_line(_to_json(entry)))

    def void(self, entry: Entry) -> None:
        """Note that a photograph is to be done again; what the entry says of its crops stays known."""
        self.add(dataclasses.replace(entry, stamp=VOID))

    def drop(self, photos: Collection[str]) -> None:
        """Forget photographs, on disk before returning."""
        self.entries = {photo: entry for photo, entry in self.entries.items() if photo not in photos}
        self._write([_line(self._settings), *(_line(_to_json(entry)) for entry in self.entries.values())])

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
    kept = [
        KeptFace(
            **{
                **face,
                'landmarks': np.array(face['landmarks'], np.float32),
                'fingerprint': np.frombuffer(bytes.fromhex(face['fingerprint']), np.uint8),
            }
        )
        for face in value['kept']
    ]
    skipped = tuple((reason, detail) for reason, detail in value['skipped'])
    return Entry(value['photo'], tuple(value['stamp']), value['split'], tuple(kept), skipped)
