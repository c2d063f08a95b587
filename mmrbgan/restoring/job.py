"""What `mmrbgan restore` does: photographs and folders in, the same with restored faces out."""

import argparse
import contextlib
import dataclasses
import hashlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from tqdm import tqdm

from mmrbgan_arch.support.errors import UsageError
from mmrbgan_data.image_formats import FILM_SUFFIXES, SUFFIXES
from mmrbgan_data.photograph_files import tell_skipped

from .before_after import before_after_sheet
from .face_choice import CHOICES, read_face_file
from .files.output_folder import OutputFolder, list_inputs
from .files.photo_file import KNOWN_SUFFIXES, SUFFIXES_BY_FORMAT, Picture, encode_picture, output_format
from .files.share import Share
from .restorer import Restorer
from .results import RestoredPhoto
from .settings import Settings

RESTORER_FLAGS = (
    'device', 'engine', 'batch', 'precision', 'detector', 'detector_weights', 'mask', 'recogniser',
    'recogniser_weights',
)  # fmt: skip
RestoreFilms = Callable[[argparse.Namespace, Sequence[tuple[Path, PurePosixPath]], Restorer, Settings], int]
REPORT = 'faces.json'
SOME_FAILED = 1
LARGE = 1_000_000  # pixels: where no face is found, say what was searched


def run(args: argparse.Namespace, restore_films: RestoreFilms, share: Share | None = None) -> int:
    """Restore photographs, then films by ``restore_films``; return 0, or 1 if some of them failed.

    Args:
        args: the flags.
        restore_films: restores the films, in the first process where several ``share`` the photographs.
        share: what this process does of the photographs.

    Raises:
        UsageError: nothing could be begun.
    """
    if args.demo:
        from .demo import run_demo

        if args.inputs:
            raise UsageError(f'--demo brings its own photograph; leave {args.inputs[0]} out, or --demo')

        settings = Settings(strength=args.strength, faces='largest')
        return run_demo(make_restorer(args, settings), Path(args.output or 'mmrbgan_demo'))
    if not args.inputs or not args.output:
        raise UsageError(
            'name photographs, films or folders, and where to put the results with -o FOLDER (or try --demo)'
        )
    found, skipped = list_inputs(args.inputs, Path(args.output).expanduser())
    films = [each for each in found if each[0].suffix.lower() in FILM_SUFFIXES]
    photos = [each for each in found if each not in films]
    share = share or Share()
    command = RestoreCommand(args, photos, skipped, share) if photos else None
    settings = make_settings(args) if photos else make_film_settings(args)
    restorer = make_restorer(args, settings)
    share.join()
    if share.rank == 0:
        _say(describe(restorer, args.weights is None))
    status = command.restore_all(restorer) if command else 0
    if films and share.rank == 0:
        status = max(status, restore_films(args, films, restorer, make_film_settings(args)))
    return status


def make_settings(args: argparse.Namespace) -> Settings:
    """Return the settings that the flags name; a flag is called as its field."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)}
    if values['faces'] not in CHOICES:
        values['faces'] = read_face_file(values['faces'])
    return Settings(**values)


def make_film_settings(args: argparse.Namespace) -> Settings:
    """Return the settings for films, which follow certain faces only and read a file of --faces themselves."""
    values = {field.name: getattr(args, field.name) for field in dataclasses.fields(Settings)}
    return Settings(**values | {'faces': args.faces if args.faces in ('all', 'largest', 'center') else 'all'})


def make_restorer(args: argparse.Namespace, settings: Settings) -> Restorer:
    """Return the restorer that the flags of ``restore.add_restorer_arguments`` name."""
    return Restorer(args.weights, settings=settings, **{name: getattr(args, name) for name in RESTORER_FLAGS})


def describe(restorer: Restorer, is_default: bool) -> str:
    """Return one line: which network runs where."""
    weights = f"the package's own weights ({restorer.weights.name})" if is_default else str(restorer.weights)
    network = restorer.network
    precision = str(network.dtype).removeprefix('torch.')
    return (
        f'{weights}: faces of {network.size} px by {network.engine} on {restorer.device}, {precision}, '
        f'batches of {network.batch}; detector {getattr(restorer.detector, "name", "own")}'
    )


class RestoreCommand:
    """One call of the command: where each photograph goes, what is said of it, and the report."""

    def __init__(
        self,
        args: argparse.Namespace,
        photos: list[tuple[Path, PurePosixPath]],
        skipped: Sequence[str] = (),
        share: Share | None = None,
    ) -> None:
        self.args = args
        self.share = share or Share()
        self.relative = dict(photos)
        output = Path(args.output).expanduser()
        is_file = len(photos) == 1 and not output.is_dir() and output.suffix.lower() in KNOWN_SUFFIXES
        if len(photos) == 1 and not output.is_dir() and output.suffix.lower() in SUFFIXES - KNOWN_SUFFIXES:
            raise UsageError(
                f'-o {output}: cannot write {output.suffix}; known are {", ".join(sorted(KNOWN_SUFFIXES))}'
            )
        if not is_file and output.exists() and not output.is_dir():
            raise UsageError(f'-o {output}: is a file; name a folder')
        self.single = output if is_file else None
        folder = output.parent if is_file else output
        self.folder = OutputFolder(folder, self.relative, remember=not is_file, part=self.share.part)
        self.keys: dict[Path, str] = {}
        if self.single:
            self.folder.check(self.single)
        self.report: dict[Path, dict[str, Any]] = {}
        self.skipped = skipped
        self.failed_sheets: list[str] = []

    def restore_all(self, restorer: Restorer) -> int:
        """Restore every photograph of this process's share; return the exit status."""
        photos = [path for path, _ in self.share.own(self.relative.items())]
        if self.share.part:
            photos = self._without_finished(photos, restorer)
        failed = 0
        outcomes = restorer.restore_many(photos, finish=self.write)
        try:
            for path, outcome in tqdm(outcomes, 'restoring', len(photos), unit='photo', disable=None):
                failed += isinstance(outcome, Exception)
                self._tell(path, outcome)
        finally:  # a run that is interrupted reports what it did
            if not self.share.part and self.args.json and self.report:
                self._write_report()
        for line in self.failed_sheets:
            _say(f'failed: {line}', sys.stderr)
        shares = self.share.gather((self.report, failed, len(self.failed_sheets)))
        failed = sum(each[1] for each in shares)
        if self.share.rank == 0:
            self._end(failed, [each[0] for each in shares])
        return SOME_FAILED if failed or any(each[2] for each in shares) else 0

    def _end(self, failed: int, reports: list[dict[Path, dict[str, Any]]]) -> None:
        """Say and write what is said and written once, when all processes have done their shares."""
        if self.share.part:
            self.report = {path: entry for report in reports for path, entry in report.items()}
            if self.args.json:
                self._write_report()
            self.folder.fold(self.relative.values())
        if self.skipped:
            _say(tell_skipped(self.skipped))
        if failed:
            _say(f'{failed} of {len(self.relative)} failed', sys.stderr)

    def _without_finished(self, photos: list[Path], restorer: Restorer) -> list[Path]:
        """Return the photographs that no process finished before the last start was ended; report the others."""
        finished, self.keys = self.folder.finished(), finished_keys(photos, self.args, restorer.weights)
        for path in (path for path in photos if self.keys[path] in finished):
            files, self.report[path] = finished[self.keys[path]]
            self.folder.take(files)
        return [path for path in photos if path not in self.report]

    def write(self, result: RestoredPhoto) -> str:
        """Encode and write one result, note it for the report, and return what to say."""
        source = Path(result.name)
        path, content = self._encode(result, source)
        self.folder.write(path, content)
        sheet = self._write_sheet(result, path) if self.args.sheet else []
        self.report[source] = result.to_json() | {'output': str(path)}
        if result.picture.warning:
            _say(f'warning: {source}: {result.picture.warning}', sys.stderr)
        if self.share.part:
            self.folder.finish(self.keys[source], [path, *sheet], self.report[source])
        return f'{summary(result)} -> {path}'

    def _write_sheet(self, result: RestoredPhoto, path: Path) -> list[Path]:
        """Write the sheet beside the result ``path``, which a failure leaves as it is; return what was written."""
        beside = PurePosixPath(path.relative_to(self.folder.root).as_posix())
        sheet = self.folder.path_for(beside, '.jpg', '_sheet')
        try:
            self.folder.write(sheet, encode_picture(Picture(before_after_sheet(result)), 'JPEG'))
        except Exception as error:  # whatever it is, the photograph is restored
            reason = getattr(error, 'strerror', None) or ' '.join(str(error).split()) or type(error).__name__
            self.failed_sheets.append(reason if str(sheet) in reason else f'{sheet}: {reason}')
            return []
        return [sheet]

    def _encode(self, result: RestoredPhoto, source: Path) -> tuple[Path, bytes]:
        """Return where to and what; an unchanged photograph is copied byte for byte."""
        if not result.changed and self.single is None and self.args.format in ('auto', 'same'):
            return self.folder.path_for(self.relative[source], source.suffix), source.read_bytes()
        suffix = self.single.suffix if self.single else ''
        wanted = suffix.lower().lstrip('.') if self.single else self.args.format
        file_format = output_format(result.picture, wanted)
        same = source.suffix if file_format == result.picture.format else SUFFIXES_BY_FORMAT[file_format]
        path = self.single or self.folder.path_for(self.relative[source], same)
        unchanged = not result.changed and file_format == result.picture.format
        return path, source.read_bytes() if unchanged else encode_picture(result.picture, file_format)

    def _tell(self, path: Path, outcome: Any) -> None:
        if isinstance(outcome, Exception):
            reason = f'{type(outcome).__name__}: {outcome}' if not str(outcome) else ' '.join(str(outcome).split())
            line = reason if str(path) in reason else f'{path}: {reason}'
            self.report[path] = {'file': str(path), 'error': line, 'faces': []}
            _say(f'failed: {line}', sys.stderr)
        else:
            _say(f'{path}: {outcome}')

    def _write_report(self) -> None:
        wanted = self.single.with_suffix('.json') if self.single else self.folder.root / REPORT
        photos = ',\n'.join(
            json.dumps(self.report[path], ensure_ascii=False) for path in self.relative if path in self.report
        )
        # In JSON an escaped byte of a name that is not UTF-8 reads back as it was.
        skipped = json.dumps(Counter(self.skipped), ensure_ascii=False)
        content = f'{{"photos": [\n{photos}\n],\n"skipped": {skipped}}}\n'.encode(errors='backslashreplace')
        try:
            self.folder.check(wanted)
            kept = _set_aside(wanted, content)
            self.folder.write(wanted, content)
        except OSError as error:
            raise UsageError(f'{wanted}: {error.strerror}; name another folder with -o') from error
        _say(f'report: {wanted}' + (f' (the one before is kept as {kept})' if kept else ''))


def finished_keys(photos: Sequence[Path], args: argparse.Namespace, weights: Path) -> dict[Path, str]:
    """Return for each photograph what its result depends on, in short."""
    flags = sorted((name, str(value)) for name, value in vars(args).items() if name not in ('run', 'inputs', 'json'))
    return {path: _digest((str(path), flags, *map(_stamp, (path, weights)))) for path in photos}


def _digest(values: tuple[Any, ...]) -> str:
    return hashlib.sha256(repr(values).encode('utf-8', 'surrogateescape')).hexdigest()[:32]


def _stamp(path: Path) -> tuple[int, int]:
    """Return size and time of change, both 0 where the file is gone."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_size, found.st_mtime_ns
    return 0, 0


def summary(result: RestoredPhoto) -> str:
    """Say in one line what was done to the faces of a photograph."""
    if not result.faces:
        where = f' ({result.searched})' if result.searched and np.prod(result.size) > LARGE else ''
        return f'no face{where}' + ('' if result.changed else ', copied as it is')
    parts = [f'{len(result.restored_faces)} of {len(result.faces)} faces restored']
    turned = sorted({round(face.roll / 90) * 90 % 360 for face in result.restored_faces} - {0})
    parts += [f'some lie turned by {" and ".join(map(str, turned))} degrees'] if turned else []
    skipped = Counter(face.skipped for face in result.faces if face.skipped)
    parts += [f'{count} left alone: {reason}' for reason, count in skipped.items()]
    scores = [face for face in result.restored_faces if face.similarity is not None]
    if scores:
        least = float(np.min([face.similarity for face in scores]))
        lowest = min(face.strength for face in scores)
        parts.append(f'least similarity {least:.2f}, least strength {lowest:.2f}')
    return '; '.join(parts)


def _set_aside(path: Path, content: bytes) -> Path | None:
    """Give a file at ``path`` that says something else a free number, and return its name: it may have been edited."""
    if not path.is_file() or path.read_bytes() == content:
        return None
    numbered = (path.with_stem(f'{path.stem}_{count}') for count in itertools.count(1))
    return path.rename(next(free for free in numbered if not free.exists()))


def _say(line: str, stream: Any = None) -> None:
    """Print a line; what the terminal's encoding lacks is escaped."""
    stream = stream or sys.stdout
    encoding = stream.encoding or 'utf-8'
    tqdm.write(line.encode(encoding, 'backslashreplace').decode(encoding), file=stream)
