"""A folder of photographs into a training set: crops or LMDBs, component boxes, landmarks, split, report, sheets.

The layout: ``train/`` and ``val/`` (or ``train.lmdb/`` and ``val.lmdb/``), each with components.json and landmarks.csv;
``report.json``, ``contact_sheet_*.jpg`` and ``progress.jsonl``, from which a stopped run goes on.
"""

import dataclasses
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmrbgan_arch.support.atomic_files import write_bytes

from ..components import COMPONENTS_FILE, LANDMARKS_FILE, write_components, write_landmarks
from ..images import META_FILE, ImageSource, import_lmdb
from .crop_pool import crop_all
from .cropping import Crop, CropSettings, Skip, circles_of
from .journal import SPLITS, Entry, Journal, KeptFace
from .lmdb_writer import restore_lmdb, write_lmdb
from .photographs import Photograph, number_of

# Of 256. JPEG of quality 50 at 300 px changed at most 9 in 95 of 100 faces; of 600 faces, one in a hundred was nearer
# than 42 to any of 3,811 others, and none nearer than 13.
DUPLICATE_BITS = 10


@dataclasses.dataclass(frozen=True)
class DatasetBuilder:
    """Builds one dataset folder.

    Attributes:
        output: the folder.
        settings: of the crops.
        use_lmdb: LMDBs in the place of folders of PNG files.
        workers: processes.
        given: options beside the settings that a later run must share.
        keep_duplicates: keep every face, near duplicates of others too.
    """

    output: Path
    settings: CropSettings
    use_lmdb: bool = False
    workers: int = 1
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    keep_duplicates: bool = False

    def build(self, photographs: list[Photograph]) -> list[Entry]:
        """Do what is not done yet, write every file, and return the entries in the photographs' order."""
        if self.use_lmdb:
            import_lmdb()  # fail now, not after hours
        self.output.mkdir(parents=True, exist_ok=True)
        for split in SPLITS:
            restore_lmdb(self.output / f'{split}.lmdb')
        own = {'lmdb': self.use_lmdb, 'keep_duplicates': self.keep_duplicates}
        journal = Journal(self.output, {**dataclasses.asdict(self.settings), **self.given, **own})
        self._remove_gone(photographs, journal)
        self._crop_all(photographs, journal)
        if (lone := _lone_validation(photographs, journal)) is not None:
            journal.void(journal.entries[lone])
            moved = [dataclasses.replace(photo, split='val') if photo.name == lone else photo for photo in photographs]
            self._crop_all(moved, journal)
        entries = [journal.entries[photograph.name] for photograph in photographs]
        for split in SPLITS:
            self._write_split(split, [face for entry in entries if entry.split == split for face in entry.kept])
        shutil.rmtree(self.output / '.crops', ignore_errors=True)
        return entries

    def folder(self, split: str) -> Path:
        """Return where the crops of ``split`` are while they are made."""
        return self.output / '.crops' / split if self.use_lmdb else self.output / split

    def source(self, split: str) -> ImageSource | None:
        """Return the finished images of ``split``, None if it has none."""
        path = self.output / (f'{split}.lmdb' if self.use_lmdb else split)
        return ImageSource(path) if (path / COMPONENTS_FILE).is_file() else None

    def _remove_gone(self, photographs: list[Photograph], journal: Journal) -> None:
        """Remove the crops of photographs that are gone, then their entries."""
        gone = journal.entries.keys() - {photograph.name for photograph in photographs}
        for photo in gone:
            self._forget(journal.entries[photo], journal)
        if gone:
            journal.drop(gone)

    def _crop_all(self, photographs: list[Photograph], journal: Journal) -> None:
        from tqdm import tqdm

        done = [journal.entries[photo.name] for photo in photographs if journal.is_done(photo.name, _stamp(photo))]
        done = _void_lone_duplicates(self._with_crops(done), journal)
        names = {entry.photo for entry in done}
        todo = [photo for photo in photographs if photo.name not in names]
        known = [face for entry in done for face in entry.kept]
        duplicates = Duplicates(known)
        bar = tqdm(
            crop_all(todo, self.settings, self.workers),
            'photographs',
            len(photographs),
            initial=len(photographs) - len(todo),
            unit='photo',
        )
        kept = len(known)
        for photograph, results in bar:
            if photograph.name in journal.entries:
                self._forget(journal.entries[photograph.name], journal)
            entry = self._store(photograph, results, duplicates)
            journal.add(entry)
            kept += len(entry.kept)
            bar.set_postfix(faces=kept, refresh=False)

    def _with_crops(self, entries: list[Entry]) -> list[Entry]:
        """Return the entries whose crops are all there; somebody may have removed some."""
        stored = {split: self._stored_names(split) for split in SPLITS}

        def is_there(entry: Entry, file: str) -> bool:
            return file in stored[entry.split] or (self.folder(entry.split) / file).is_file()

        return [entry for entry in entries if all(is_there(entry, face.file) for face in entry.kept)]

    def _stored_names(self, split: str) -> set[str]:
        """Return the names of the crops in the LMDB of ``split``, if there is one."""
        target = self.output / f'{split}.lmdb'
        return set(ImageSource(target).names) if self.use_lmdb and (target / META_FILE).is_file() else set()

    def _store(self, photograph: Photograph, results: Iterable[Crop | Skip], duplicates: 'Duplicates') -> Entry:
        """Write the crops that are not duplicates; return what became of each face."""
        kept: list[KeptFace] = []
        skipped: list[tuple[str, str]] = []
        for number, result in enumerate(results):
            name = f'{photograph.stem}_{number}.png'
            if isinstance(result, Skip):
                skipped.append((result.reason, result.detail))
            elif not self.keep_duplicates and (twin := duplicates.find(result.fingerprint)):
                skipped.append(('duplicate', f'of {twin}'))
            else:
                path = self.folder(photograph.split) / name
                write_bytes(path, result.content)
                landmarks = np.round(result.landmarks, 2).astype(np.float32)  # as the journal will have them
                face = KeptFace(name, landmarks, result.source_side, result.sharpness, result.fingerprint)
                duplicates.add(face)
                kept.append(face)
        return Entry(photograph.name, _stamp(photograph), photograph.split, tuple(kept), tuple(skipped))

    def _forget(self, entry: Entry, journal: Journal) -> None:
        """Remove the crops of a photograph that is gone or has changed."""
        journal.void(entry)  # first: a stopped run must not leave it done without its crops
        folder = self.folder(entry.split)
        for face in entry.kept:
            if (folder / face.file).parent.resolve().is_relative_to(folder.resolve()):  # and no link leads out of it
                (folder / face.file).unlink(missing_ok=True)

    def _write_split(self, split: str, faces: list[KeptFace]) -> None:
        """Write the annotations of ``split`` and, if asked for, its LMDB."""
        folder, target = self.folder(split), self.output / f'{split}.lmdb'
        if not faces:
            self._remove_split(folder, target)
            return
        folder.mkdir(parents=True, exist_ok=True)
        circles = {face.file: circles_of(face.landmarks, self.settings.size) for face in faces}
        write_components(folder / COMPONENTS_FILE, circles, self.settings.size)
        landmarks = {face.file: face.landmarks for face in faces if len(face.landmarks) > 5}
        write_landmarks(folder / LANDMARKS_FILE, landmarks)
        if self.use_lmdb:
            extra = [folder / COMPONENTS_FILE, folder / LANDMARKS_FILE]
            names = [face.file for face in faces]
            if _has_exactly(target, names) and not any((folder / name).is_file() for name in names):
                return
            write_lmdb(target, *_encoded(folder, target, names), extra)

    def _remove_split(self, folder: Path, target: Path) -> None:
        """Remove what an earlier run wrote about a split that has no face any more."""
        for name in (COMPONENTS_FILE, LANDMARKS_FILE):
            (folder / name).unlink(missing_ok=True)
        if self.use_lmdb:
            shutil.rmtree(target, ignore_errors=True)


class Duplicates:
    """Finds near duplicates among the faces kept so far by their fingerprints.

    Args:
        faces: kept by an earlier run.
    """

    def __init__(self, faces: Iterable[KeptFace]) -> None:
        self._files: list[str] = []
        self._prints = np.empty((64, 32), np.uint8)
        for face in faces:
            self.add(face)

    def add(self, face: KeptFace) -> None:
        """Remember ``face``."""
        if len(self._files) == len(self._prints):
            self._prints = np.concatenate([self._prints, np.empty_like(self._prints)])
        self._prints[len(self._files)] = face.fingerprint
        self._files.append(face.file)

    def find(self, fingerprint: np.ndarray) -> str | None:
        """Return the file of a face that is the same but for compression and scale, if there is one."""
        differing = np.bitwise_xor(self._prints[: len(self._files)], fingerprint)
        distance = np.unpackbits(differing, axis=1).sum(1)
        return self._files[int(distance.argmin())] if len(distance) and distance.min() <= DUPLICATE_BITS else None


def _lone_validation(photographs: list[Photograph], journal: Journal) -> str | None:
    """Return the photograph whose faces go to validation where one was wished for and none has a face, else None."""
    with_faces = [entry for photo in photographs if (entry := journal.entries[photo.name]).kept]
    wished = any(photo.split == 'val' for photo in photographs)
    if not wished or len(with_faces) < 2 or any(entry.split == 'val' for entry in with_faces):
        return None
    return min((entry.photo for entry in with_faces), key=number_of)


def _void_lone_duplicates(done: list[Entry], journal: Journal) -> list[Entry]:
    """Void entries with a duplicate of a face that is not known any more, and return the others."""
    known = {face.file for entry in done for face in entry.kept}
    sound = []
    for entry in done:
        if known.issuperset(detail.removeprefix('of ') for reason, detail in entry.skipped if reason == 'duplicate'):
            sound.append(entry)
        else:
            journal.void(entry)
    return sound


def _stamp(photograph: Photograph) -> tuple[int, int]:
    try:
        status = os.stat(photograph.path)
        return status.st_size, status.st_mtime_ns
    except OSError:  # a broken link: reading it will tell
        return 0, 0


def _has_exactly(target: Path, names: list[str]) -> bool:
    return (target / META_FILE).is_file() and ImageSource(target).names == names


def _encoded(folder: Path, old: Path, names: list[str]) -> tuple[Iterator[tuple[str, bytes]], int]:
    """Return (name, PNG) of each crop, new ones from ``folder`` and others from the LMDB ``old``, and their size."""
    stored = ImageSource(old) if (old / META_FILE).is_file() else None
    place = {name: index for index, name in enumerate(stored.names)} if stored else {}
    total = sum(f.stat().st_size for f in folder.rglob('*.png')) + ((old / 'data.mdb').stat().st_size if stored else 0)

    def read() -> Iterator[tuple[str, bytes]]:
        for name in names:
            new = (folder / name).is_file()
            yield name, (folder / name).read_bytes() if new or stored is None else stored.read_bytes(place[name])

    return read(), total
