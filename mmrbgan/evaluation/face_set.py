"""Pairs the folders of an evaluation by file name; what does not pair or cannot be read is listed, never dropped."""

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.images import ImageSource, UnreadableImageError


@dataclasses.dataclass(frozen=True)
class FaceFiles:
    """One face of the set: its name and where its pictures are in each folder ('restored', 'gt', 'lq')."""

    name: str
    places: dict[str, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Pictures:
    """RGB uint8 (h, w, 3) of one face; ``gt`` and ``lq`` where there are such folders."""

    face: FaceFiles
    restored: np.ndarray
    gt: np.ndarray | None
    lq: np.ndarray | None


class EvaluationSet:
    """The faces that are in every folder given.

    Args:
        restored: folder of restored faces.
        gt: folder of the ground truth, if known.
        lq: folder of the degraded inputs, if known.

    Raises:
        UsageError: an empty folder, a name that occurs twice, or no name in common.
    """

    def __init__(self, restored: str, gt: str | None = None, lq: str | None = None) -> None:
        folders = {'restored': restored, 'gt': gt, 'lq': lq}
        self.sources = {kind: ImageSource(folder, kind) for kind, folder in folders.items() if folder}
        places = {kind: _by_stem(source, kind) for kind, source in self.sources.items()}
        reference = places.get('gt') or places.get('lq')
        places = {kind: _without_suffix(found, reference) for kind, found in places.items()}
        common = set.intersection(*map(set, places.values()))
        self.faces = [FaceFiles(name, {kind: found[name] for kind, found in places.items()}) for name in sorted(common)]
        self.excluded = _missing(places, common)
        self.own = self.faces
        self._unreadable: list[tuple[str, str]] = []
        self._read: list[dict[str, bytes]] = []
        if not self.faces:
            examples = ', '.join(f'{kind} {min(found)!r}' for kind, found in places.items())
            raise UsageError(f'no face is in every folder under one name ({examples}); name the files alike')

    def __iter__(self) -> Iterator[Pictures]:
        """Read this process's faces one by one; an unreadable one is put on the list of exclusions."""
        for face in self.own:
            try:
                contents = {kind: self.sources[kind].read(place) for kind, place in face.places.items()}
                self._read.append({kind: self._hash(face, kind) for kind in face.places})
            except UnreadableImageError as error:
                self._unreadable.append((face.name, str(error)))
                continue
            pictures = Pictures(face, contents['restored'], contents.get('gt'), contents.get('lq'))
            _check_sizes(pictures)
            yield pictures

    def share(self, rank: int, size: int, batch: int) -> None:
        """Leave this process the ``rank``-th of ``size`` runs of whole batches."""
        batches = -(-len(self.faces) // batch)
        start, stop = (batches * each // size * batch for each in (rank, rank + 1))
        self.own = self.faces[start:stop]

    def state(self) -> tuple[list[dict[str, bytes]], list[tuple[str, str]]]:
        """Return what was read and what could not be, to be sent to another process."""
        return self._read, self._unreadable

    def finish(self, states: Iterable[tuple[list[dict[str, bytes]], list[tuple[str, str]]]]) -> None:
        """Take in the ``state`` of every process, this one's with them, in the order of their ranks."""
        read, unreadable = zip(*states, strict=True)
        self._read = [each for part in read for each in part]
        self.excluded += [each for part in unreadable for each in part]

    def digest(self, kind: str) -> str:
        """Return the hash of the files of ``kind`` that were read: names and bytes, in order."""
        return hashlib.sha256(b''.join(each[kind] for each in self._read)).hexdigest()[:16]

    def _hash(self, face: FaceFiles, kind: str) -> bytes:
        return face.name.encode() + hashlib.sha256(self.sources[kind].read_bytes(face.places[kind])).digest()


def _by_stem(source: ImageSource, kind: str) -> dict[str, int]:
    stems = [os.path.splitext(name)[0] for name in source.names]
    twice = [stem for stem, count in Counter(stems).items() if count > 1]
    if twice:
        raise UsageError(f'{kind}: {twice[0]!r} occurs twice in {str(source.root)!r}; keep one of each name')
    return {stem: index for index, stem in enumerate(stems)}


def _without_suffix(restored: dict[str, int], partners: dict[str, int] | None) -> dict[str, int]:
    """BasicSR names a result ``NAME_SUFFIX.png``: cut the ending that all names share, if the rest has partners."""
    if partners is None or set(restored) & set(partners):
        return restored
    ending = os.path.commonprefix([name[::-1] for name in restored])[::-1]  # noqa: RUF071 (of names, not of paths)
    for start in (i for i, letter in enumerate(ending) if letter == '_'):
        cut = {name.removesuffix(ending[start:]): place for name, place in restored.items()}
        if set(cut) & set(partners):
            return cut
    return restored


def _missing(places: dict[str, dict[str, int]], common: set[str]) -> list[tuple[str, str]]:
    """Return (name, reason) for every name that is not in all folders."""
    names = sorted(set().union(*places.values()) - common)
    return [(name, 'not in ' + ', '.join(kind for kind in places if name not in places[kind])) for name in names]


def _check_sizes(pictures: Pictures) -> None:
    if pictures.gt is not None and pictures.gt.shape != pictures.restored.shape:
        sizes = [f'{one.shape[1]}x{one.shape[0]}' for one in (pictures.restored, pictures.gt)]
        raise UsageError(
            f'{pictures.face.name}: restored is {sizes[0]}, the ground truth {sizes[1]}; bring both to one size, since '
            'scaling here would change every number'
        )
