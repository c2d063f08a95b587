"""What `mmrbgan restore` does with films: where each goes, segments and resuming, progress, preview, report."""

import argparse
import contextlib
import dataclasses
import json
import logging
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from mmrbgan_arch.support.atomic_files import sha256_of, write_text, writing
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.folder_lock import FolderLock
from mmrbgan_data.image_formats import FILM_SUFFIXES
from mmrbgan_data.images import UnreadableImageError

from ..face_choice import CHOICES
from ..files.output_folder import OutputFolder
from ..masks import ellipse_mask
from ..restorer import Restorer
from ..settings import Settings
from .encoding import Encoding, SegmentWriter, check_suffix, choose_encoding, choose_suffix
from .film_restorer import FilmRestorer, FilmSettings, RestoredFrame
from .joining import fits, join_film
from .preview import preview_frame, preview_info
from .reading import describe_film

_LOGGER = logging.getLogger(__name__)
SEGMENT = 250  # frames; a kill costs at most so many
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclasses.dataclass(frozen=True)
class FilmFlags:
    """The flags that only films have."""

    codec: str | None = None
    crf: float | None = None
    lossless: bool = False
    preview: bool = False
    resume: bool = False
    json: bool = False
    segment: int = SEGMENT


@dataclasses.dataclass(frozen=True, eq=False)
class Outcome:
    """How a film ended: its file, frames, and what to say besides."""

    output: Path
    frames: int
    tracks: int
    notes: tuple[str, ...]
    status: int = 0


class StopSignals:
    """Notes Ctrl-C and SIGTERM while films are restored; a second one ends the process at once."""

    def __init__(self) -> None:
        self.status = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> 'StopSignals':
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in STOPPED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: Any) -> None:
        self.status = STOPPED[signal.Signals(number)]
        signal.signal(number, self._before[number])


class FilmJob:
    """One film from file to file.

    Args:
        path: the film.
        output: the file to write, with a suffix or, if it has none, to be given one.
        restorer: its networks.
        settings: as of photographs.
        film_settings: what films have besides.
        flags: the command's.
        left_alone: tracks to leave.
        folder: into which the output goes, over nothing but its own results; None: the output is the user's word.

    Raises:
        UnreadableImageError: the film cannot be read.
        UsageError: flags that do not fit it.
    """

    def __init__(
        self,
        path: Path,
        output: Path,
        restorer: Restorer,
        settings: Settings,
        film_settings: FilmSettings,
        flags: FilmFlags,
        left_alone: frozenset[int] = frozenset(),
        folder: OutputFolder | None = None,
    ) -> None:
        self.folder = folder or OutputFolder(output.parent, [path], remember=False)
        self.info = describe_film(path)
        self.flags, self.settings = flags, settings
        self.encoding = choose_encoding(self.info, flags.codec, flags.crf, flags.lossless, settings.scale)
        self.notes: list[str] = []
        self.output = self._named(output)
        self.folder.check(self.output)
        self.parts = self.output.with_name(f'.{self.output.name}.parts')
        self.restorer = FilmRestorer(restorer, self.info, settings, film_settings, left_alone)
        self._key = self._make_key(restorer, settings, film_settings, left_alone)
        if self.info.interlaced and not film_settings.deinterlace:
            self.notes.append('its frames are woven from two fields; --deinterlace makes whole ones')

    def run(self, stop: StopSignals) -> Outcome:
        """Restore the film, or what is left of it.

        Raises:
            UsageError: another process restores into the same file, or it cannot be written.
        """
        lock = FolderLock(self.parts, 'wait for its end, or choose another output')
        with lock, writing(self.parts, 'nothing is lost: free some room and go on with --resume'):
            segments, start = self._begin()
            with contextlib.closing(self.restorer.frames(start)) as frames:
                segments, done = self._encode(frames, segments, start, stop)
            return self._finish(segments, done, stop.status)

    def _named(self, output: Path) -> Path:
        """Return the output with its container's suffix."""
        if output.suffix.lower() in FILM_SUFFIXES:
            check_suffix(output, self.encoding)
            return output
        suffix = choose_suffix(self.info, self.encoding)
        if not fits(self.info, suffix):
            self.notes.append(f'its sound or subtitles do not fit into {suffix}; written as .mkv')
            suffix = '.mkv'
        return self._place(output, suffix)

    def _place(self, output: Path, suffix: str, ending: str = '') -> Path:
        """Return a free path beside or at ``output``; of its name everything counts but the suffix of a film."""
        relative = PurePosixPath(output.relative_to(self.folder.root).as_posix() + '.film')
        return self.folder.path_for(relative, suffix, ending)

    def _make_key(self, restorer: Restorer, *settings: Any) -> str:
        """Return what a run to be resumed has to have in common with this one."""
        state = self.info.path.stat()
        known = [str(self.info.path.resolve()), state.st_size, state.st_mtime_ns, sha256_of(restorer.weights)]
        known += [str(each) for each in (*settings[:-1], sorted(settings[-1]), self.encoding, self.flags.preview)]
        known += [
            restorer.network.engine,
            str(restorer.network.dtype),
            str(restorer.device),
            self.flags.segment,
            type(restorer.detector).__name__,
        ]
        return json.dumps(known)

    def _begin(self) -> tuple[list[Path], int]:
        """Return the segments of a run to go on with, and the first frame that is missing."""
        key = self.parts / 'run.json'
        if self.flags.resume and key.is_file() and key.read_text(encoding='utf-8') == self._key:
            segments = self._whole_segments()
            for other in set(self.parts.iterdir()) - {key, *segments, *(self._preview_of(s) for s in segments)}:
                other.unlink()
            return segments, len(segments) * self.flags.segment
        if self.flags.resume and self.parts.is_dir():
            self.notes.append('was begun with other settings or weights, or the film changed; begun anew')
        shutil.rmtree(self.parts, ignore_errors=True)
        self.parts.mkdir(parents=True)
        write_text(key, self._key)
        return [], 0

    def _whole_segments(self) -> list[Path]:
        segments: list[Path] = []
        while (path := self._segment(len(segments))).is_file():
            if self.flags.preview and not self._preview_of(path).is_file():
                break
            segments.append(path)
        return segments

    def _segment(self, number: int) -> Path:
        return self.parts / f'{number:06d}.nut'

    @staticmethod
    def _preview_of(segment: Path) -> Path:
        return segment.with_name(f'preview_{segment.name}')

    def _encode(
        self, frames: Iterator[RestoredFrame], segments: list[Path], start: int, stop: StopSignals
    ) -> tuple[list[Path], Fraction | None]:
        """Encode all frames; return the segments, and the time that an interrupted film ends at."""
        writer: _Writers | None = None
        end = None
        with tqdm(
            total=self.info.frames or None, initial=start, unit='frame', desc=self.info.path.name, disable=None
        ) as bar:
            try:
                for each in frames:
                    if writer is None:
                        writer = _Writers(self, self._segment(len(segments)), each)
                    writer.add(each)
                    bar.update()
                    end = (each.frame.pts + max(1, each.frame.duration)) * self.info.time_base
                    if (each.frame.index + 1) % self.flags.segment == 0:
                        writer.close()
                        segments, writer = [*segments, writer.path], None
                    if stop.status:
                        break
                if writer is not None:
                    writer.close()
                    segments, writer = [*segments, writer.path], None
            finally:
                if writer is not None:
                    writer.drop()
        return segments, end if stop.status else None

    def _finish(self, segments: list[Path], end: Fraction | None, status: int) -> Outcome:
        if not segments:
            raise UnreadableImageError(f'{self.info.path}: not one frame was restored')
        joined = join_film(self.info, segments, self.output, end, self.folder.note)
        if self.flags.preview:
            preview = self._place(self.output.with_suffix(''), '.mp4', '_preview')
            parts = [self._preview_of(each) for each in segments]
            join_film(preview_info(self.info), parts, preview, end, self.folder.note)
            self.notes.append(f'preview: {preview}')
        count = self._last_frame(segments)
        if self.flags.json:
            text = json.dumps(self.report(count), ensure_ascii=False, indent=1)
            report = self._place(self.output.with_suffix(''), '.json')
            self.folder.write(report, text.encode('utf-8', 'backslashreplace'))
            self.notes.append(f'report: {report}')
        if status:
            if count % self.flags.segment:  # the last one is not whole, and is made again
                segments[-1].unlink()
            self.notes.append(f'interrupted after {count} frames; go on with --resume')
        else:
            shutil.rmtree(self.parts, ignore_errors=True)
        notes = (*self.notes, *(f'without {each}' for each in joined.left_out))
        restored = sum(record.frames > 0 for record in self.restorer.smoother.records.values())
        return Outcome(self.output, count, restored, notes, status)

    def _last_frame(self, segments: Sequence[Path]) -> int:
        from .reading import import_av

        with import_av().open(str(segments[-1])) as container:
            last = sum(packet.pts is not None for packet in container.demux(video=0))
        return (len(segments) - 1) * self.flags.segment + last

    def report(self, frames: int) -> dict[str, Any]:
        """Return what --json writes: the tracks, each with ``restore``, which --faces reads again."""
        tracks = []
        for number, record in sorted(self.restorer.smoother.records.items()):
            score = self.restorer.scores.get(number)
            tracks.append(
                {
                    'track': number,
                    'restore': record.frames > 0,
                    'skipped': None if record.frames else self._why(number, record),
                    'first': record.first,
                    'last': record.last,
                    'restored_frames': record.frames,
                    'largest_side': round(record.side, 1),
                    'score': round(float(record.score), 4),
                    'strength': 0.0
                    if not record.frames
                    else round(score.strength if score else self.settings.strength, 3),
                    'similarity': None if score is None else round(score.similarity, 4),
                }
            )
        film = {
            'file': str(self.info.path), 'output': str(self.output), 'size': list(self.info.size),
            'rate': float(self.info.rate), 'frames': frames, 'detections': self.restorer.tracker.detections,
            'codec': self.encoding.encoder, 'tracks': tracks,
        }  # fmt: skip
        return {'films': [film]}

    def _why(self, number: int, record: Any) -> str:
        wanted = self.restorer.smoother.wanted
        if number in wanted.left_alone:
            return 'left alone by the faces file'
        if record.side < wanted.min_face:
            return f'too small ({record.side:.0f} px, --min-face {wanted.min_face:g})'
        return 'seen in a few frames only' if wanted.which == 'all' else f'not the {wanted.which} one'


class _Writers:
    """A segment of the film and, if wanted, of its preview."""

    def __init__(self, job: FilmJob, path: Path, first: RestoredFrame) -> None:
        self.path, self._job = path, job
        self._film = SegmentWriter(path, job.info, job.encoding, first.after)
        self._preview: SegmentWriter | None = None
        if job.flags.preview:
            info = preview_info(job.info)
            encoding: Encoding = choose_encoding(info, None, None, False, 1)
            self._preview = SegmentWriter(
                job._preview_of(path), info, encoding, preview_frame(job.info, first.before, first.after)
            )

    def add(self, each: RestoredFrame) -> None:
        if self._preview is not None:
            self._preview.add(each.frame, preview_frame(self._job.info, each.before, each.after))
        self._film.add(each.frame, each.after)

    def close(self) -> None:
        if self._preview is not None:
            self._preview.close()
        self._film.close()

    def drop(self) -> None:
        if self._preview is not None:
            self._preview.drop()
        self._film.drop()


def read_track_file(path: str) -> dict[str, frozenset[int]]:
    """Return, for each film of a --json report, the tracks that it says to leave alone.

    Raises:
        UsageError: no such file, or not of that form.
    """
    try:
        films = json.loads(Path(path).read_text(encoding='utf-8'))['films']
        return {
            _key(film['file']): frozenset(int(t['track']) for t in film['tracks'] if not t.get('restore', True))
            for film in films
        }
    except OSError as error:
        raise UsageError(f'--faces {path}: {error.strerror}; known are all, largest, center and FILE.json') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f'--faces {path}: not a report of `mmrbgan restore --json` of a film') from error


def _key(path: str | Path) -> str:
    return str(Path(path).resolve())


def film_flags(args: argparse.Namespace) -> FilmFlags:
    """Return the flags that only films have."""
    return FilmFlags(args.codec, args.crf, args.lossless, args.preview, args.resume, args.json)


def restore_films(
    args: argparse.Namespace, films: Sequence[tuple[Path, PurePosixPath]], restorer: Restorer, settings: Settings
) -> int:
    """Restore each film; return the exit status."""
    if args.mask == 'auto':
        restorer.mask = ellipse_mask  # a mask of another network takes longer than the film, and flickers
    flags, film_settings = film_flags(args), FilmSettings(args.steady, args.deinterlace, args.detect_every)
    left_alone = read_track_file(args.faces) if args.faces not in CHOICES else {}
    output = Path(args.output).expanduser()
    one_file = len(films) == 1 and output.suffix.lower() in FILM_SUFFIXES and not output.is_dir()
    folder = None if one_file else OutputFolder(output, [path for path, _ in films])
    failed = 0
    with StopSignals() as stop:
        for path, relative in films:
            target = output if one_file else output / relative.with_suffix('')
            try:
                alone = left_alone.get(_key(path), frozenset())
                outcome = FilmJob(path, target, restorer, settings, film_settings, flags, alone, folder).run(stop)
            except (UnreadableImageError, UsageError) as error:
                if len(films) == 1 and isinstance(error, UsageError):
                    raise
                failed += 1
                _say(f'failed: {" ".join(str(error).split())}', sys.stderr)
                continue
            _say(f'{path}: {outcome.frames} frames, {outcome.tracks} faces followed -> {outcome.output}')
            for note in outcome.notes:
                _say(f'{path}: {note}')
            if stop.status:
                return stop.status
    return 1 if failed else 0


def _say(line: str, stream: Any = None) -> None:
    stream = stream or sys.stdout
    encoding = stream.encoding or 'utf-8'
    tqdm.write(line.encode(encoding, 'backslashreplace').decode(encoding), file=stream)
