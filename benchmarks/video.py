"""What restoring a film costs beside decoding and encoding it, whether it is steady, and whether it survives kills.

    python benchmarks/video.py                                # speed and quality of the network that ships
    python benchmarks/video.py --faces FOLDER                 # aligned faces with landmarks.csv, else the astronaut
    python benchmarks/video.py --parts quality --keep FOLDER  # and keep the films, to be looked at
    python benchmarks/video.py --parts memory kills           # ten minutes of film; twenty kills at random

The film is made here (benchmarks/moving_faces.py): stills that move, turn in the plane, zoom, talk and blink, a cut in
the middle, blur, noise and JPEG's blocks, a tone as sound. Numbers go to stdout as Markdown. Times are the process's
seconds of wall clock and of CPU, decode + encode alone and restoring in turn.
"""

import argparse
import hashlib
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from moving_faces import RATE, chain_films, make_films

from mmrbgan import Restorer, Settings
from mmrbgan.evaluation.film_scores import score_film
from mmrbgan.restoring.film.encoding import SegmentWriter, choose_encoding
from mmrbgan.restoring.film.film_job import FilmFlags, FilmJob, StopSignals
from mmrbgan.restoring.film.film_restorer import FilmSettings
from mmrbgan.restoring.film.reading import describe_film, read_frames

SIZES = ('640x360', '1280x720')
DAMAGE = {'640x360': 0.4, '1280x720': 0.3}  # of the size, in which the film is blurred
BOUND, FLICKER_BOUND, MOTION_BOUND = 2.0, 0.6, 0.5
SHORT, LONG, MEMORY_BOUND = 10, 600, 50  # seconds of film, and MB between their peaks
WITH_FACE = 6  # one part in so many of the long film has a face
# Linux's own peak, as what getrusage says of a child begins with its parent's; kB, the last word printed.
COMMAND = """
from pathlib import Path
from mmrbgan.cli import main
assert main() == 0
print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])
"""
KILLS, SEGMENT = 20, 25  # SIGKILLs, and frames a segment of the film that they hit


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--weights', help='default: those shipped')
    parser.add_argument('--engine', default='auto')
    parser.add_argument('--detector', default='auto')
    parser.add_argument('--faces', type=Path, metavar='FOLDER', help='aligned faces with landmarks.csv')
    parser.add_argument('--frames', type=int, default=100)
    parser.add_argument('--repeat', type=int, default=3)
    parser.add_argument('--threads', type=int, default=2)
    parts = {'speed': speed, 'quality': quality, 'memory': memory, 'kills': kills}
    parser.add_argument('--parts', nargs='+', choices=parts, default=['speed', 'quality'])
    parser.add_argument(
        '--size', default='640x360', help='of the films whose memory is measured (default: %(default)s)'
    )
    parser.add_argument('--keep', type=Path, metavar='FOLDER', help='where the films go (default: nowhere)')
    args = parser.parse_args()
    os.environ['OMP_NUM_THREADS'] = str(args.threads)
    cv2.setNumThreads(args.threads)
    with tempfile.TemporaryDirectory() as temporary:
        for part in args.parts:
            parts[part](args.keep or Path(temporary), args)


def make_restorer(args: argparse.Namespace) -> Restorer:
    """Return the restorer, and say which it is."""
    restorer = Restorer(args.weights, device='cpu', engine=args.engine, detector=args.detector, mask='ellipse')
    network, detector = restorer.network, type(restorer.detector).__name__
    print(f'{restorer.weights.name}, {network.engine}, {network.dtype}, {args.threads} threads, {detector}\n')
    return restorer


def made(folder: Path, size: str, faces: int, args: argparse.Namespace, frames: int = 0) -> tuple[Path, Path]:
    """Return the true and the damaged film."""
    frames = frames or args.frames
    place = folder / f'{size}_{faces}_{frames}'
    place.mkdir(parents=True, exist_ok=True)
    if (place / 'film.mp4').is_file():
        return place / 'true.mkv', place / 'film.mp4'
    width, height = map(int, size.split('x'))
    return make_films(place, (width, height), frames, faces, args.faces, DAMAGE.get(size, 0.4))


def speed(folder: Path, args: argparse.Namespace) -> None:
    """Print frames per second and the ratio to decode + encode alone, and milliseconds per frame and stage."""
    restorer = make_restorer(args)
    stages = ('view', 'align', 'network', 'steady', 'paste')
    print(
        '| film | faces | alone, frames/s | restored, frames/s | ratio, wall | ratio, CPU | '
        + ' | '.join(stages)
        + ' |'
    )
    print('| --- ' * 2 + '| ---: ' * (4 + len(stages)) + '|')
    for size in SIZES:
        for faces in (1, 4):
            film = made(folder, size, faces, args)[1]
            restore(restorer, film, folder / 'warm', 1.0)
            rounds = []
            for _ in range(args.repeat):
                restorer.times.seconds.clear()
                alone = timed(lambda film=film: decode_and_encode(film, folder / 'alone.nut'))
                ours = timed(lambda film=film: restore(restorer, film, folder / 'speed', 1.0))
                rounds.append((alone, ours, [1000 * restorer.times.seconds[stage] / args.frames for stage in stages]))
            walls = [ours[0] / alone[0] for alone, ours, _ in rounds]
            cpus = [ours[1] / alone[1] for alone, ours, _ in rounds]
            rates = [args.frames / np.median([one[k][0] for one in rounds]) for k in (0, 1)]
            cells = [f'{value:.1f}' for value in np.median([one[2] for one in rounds], 0)]
            print(
                f'| {size} | {faces} | {rates[0]:.1f} | {rates[1]:.1f} | {np.median(walls):.2f} '
                f'({min(walls):.2f} to {max(walls):.2f}) | {np.median(cpus):.2f} | ' + ' | '.join(cells) + ' |',
                flush=True,
            )
    print(f'\nStages in ms of wall clock per frame; they overlap. The bound for 1280x720 with one face is {BOUND}.\n')


def quality(folder: Path, args: argparse.Namespace) -> None:
    """Print flicker, PSNR and motion of landmarks, frame by frame and steady."""
    restorer = make_restorer(args)
    true, film = made(folder, '640x360', 1, args)
    found = {}
    for steady in (0.0, 1.0):
        output = restore(restorer, film, folder / f'steady_{steady:g}', steady)
        found[steady] = score_film(output, film, true, restorer.detector)
    alone, steady = found[0.0], found[1.0]
    print('| | input | frame by frame | steady | true |\n| --- | ---: | ---: | ---: | ---: |')
    flicker = [steady.flicker['input'], alone.flicker['restored'], steady.flicker['restored'], steady.flicker['true']]
    print('| flicker, levels of 255 | ' + ' | '.join(f'{value:.3f}' for value in flicker) + ' |')
    print(f'| PSNR of faces, dB | {steady.psnr["input"]:.2f} | {alone.psnr["restored"]:.2f} | ', end='')
    print(f'{steady.psnr["restored"]:.2f} | |')
    print(f'| motion from the input, px | 0 | {alone.motion["restored"]:.3f} | ', end='')
    print(f'{steady.motion["restored"]:.3f} | {steady.motion["true"]:.3f} |\n')
    share = steady.flicker['restored'] / alone.flicker['restored']
    motion = abs(steady.motion['restored'] - steady.motion['true'])
    say('flicker of frame by frame', share, share <= FLICKER_BOUND, f'at most {FLICKER_BOUND}')
    ratio = steady.flicker['restored'] / steady.flicker['input']
    say('flicker of the input', ratio, ratio <= 1, 'at most 1')
    gain = steady.psnr['restored'] - alone.psnr['restored']
    say('dB over frame by frame', gain, gain >= 0, 'at least 0')
    say('px of motion from the true film', motion, motion <= MOTION_BOUND, f'at most {MOTION_BOUND}')
    print(f'frames that flicker most: {steady.worst}\n')


def memory(folder: Path, args: argparse.Namespace) -> None:
    """Print the peak memory of `mmrbgan restore` for ten seconds and for ten minutes of film."""
    short = made(folder, args.size, 1, args, SHORT * RATE)[1]
    without = made(folder, args.size, 0, args, SHORT * RATE)[1]  # spares the network's time
    film = folder / 'long.mp4'
    chain_films([short if i % WITH_FACE == 0 else without for i in range(LONG // SHORT)], film)
    peaks = []
    print(f'The long film has a face in one of {WITH_FACE} parts.\n')
    print(f'| film, {args.size} | frames | seconds | peak, MB |\n| --- | ---: | ---: | ---: |')
    for path, seconds in ((short, SHORT), (film, LONG)):
        output, begun = folder / f'{path.stem}_restored.mp4', time.perf_counter()
        told = subprocess.run(
            command(path, output, args), stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True
        )
        peaks.append(int(told.stdout.split()[-1]) / 1024)
        frames, took = sum(1 for _ in frame_hashes(output)), time.perf_counter() - begun
        print(f'| {seconds} s | {frames} | {took:.0f} | {peaks[-1]:.0f} |', flush=True)
    print()
    say('MB more for ten minutes', peaks[1] - peaks[0], peaks[1] - peaks[0] <= MEMORY_BOUND, f'at most {MEMORY_BOUND}')
    print()


def kills(folder: Path, args: argparse.Namespace) -> None:
    """Kill a restoring process at random, resume; print whether the frames are those of an undisturbed run."""
    film = made(folder, '640x360', 1, args, SHORT * RATE)[1]
    whole, output = folder / 'whole.mkv', folder / 'killed.mkv'
    begun = time.perf_counter()
    assert end_of(begin(film, whole, args)) == 0
    seconds = time.perf_counter() - begun
    rng, left, found = np.random.default_rng(0), KILLS, []
    while True:
        process = begin(film, output, args)
        status = end_of(process, rng.uniform(0, seconds / 2) if left else None)
        if status is None:
            process.kill()
            process.join()
            left -= 1
            print(f'killed with {len(list(folder.glob(".killed.mkv.parts/0*.nut")))} whole segments there', flush=True)
            continue
        assert status == 0
        found.append(same_film(output, whole, film))
        print('ended: ' + ('the same frames and sound' if found[-1] else 'DIFFERS'), flush=True)
        output.unlink()
        if not left:
            break
    say(f'of the films resumed over {KILLS} kills are the same', float(np.mean(found)), all(found), '1')
    print()


def begin(film: Path, output: Path, args: argparse.Namespace) -> Any:
    """Begin or go on with a film in a process of its own."""
    process = multiprocessing.get_context('spawn').Process(target=resume, args=(film, output, args))
    process.start()
    return process


def end_of(process: Any, patience: float | None = None) -> int | None:
    """Return how a process ended; None: it goes on."""
    process.join(patience)
    found: int | None = process.exitcode
    return found


def resume(film: Path, output: Path, args: argparse.Namespace) -> None:
    """Restore a film without loss in short segments, from where it was left."""
    restorer = Restorer(args.weights, device='cpu', engine=args.engine, detector=args.detector, mask='ellipse')
    flags = FilmFlags(lossless=True, resume=True, segment=SEGMENT)
    FilmJob(film, output, restorer, Settings(), FilmSettings(), flags).run(StopSignals())


def same_film(one: Path, other: Path, source: Path) -> bool:
    """Say whether two films have the same frames, bit for bit, and the sound of ``source``, packet by packet."""
    pairs = zip_longest(frame_hashes(one), frame_hashes(other))
    return all(a == b for a, b in pairs) and sound(one) == sound(other) == sound(source)


def frame_hashes(film: Path) -> Iterator[bytes]:
    """Yield a hash of each frame's time and planes."""
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            time_of = str(frame.pts * frame.time_base).encode()
            yield hashlib.sha256(time_of + frame.to_ndarray().tobytes()).digest()


def sound(film: Path) -> list[bytes]:
    """Return the packets of a film's sound."""
    with av.open(str(film)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def command(film: Path, output: Path, args: argparse.Namespace, *more: str) -> list[str]:
    """Return the command that restores a film and prints its peak memory."""
    words = ['restore', str(film), '-o', str(output), '--device', 'cpu', *more]
    words += ['--engine', args.engine, '--detector', args.detector]
    words += ['--weights', args.weights] if args.weights else []
    return [sys.executable, '-c', COMMAND, *words]


def say(what: str, value: float, holds: bool, bound: str) -> None:
    """Print whether a bound holds."""
    print(f'{value:.3f} {what}: {"holds" if holds else "FAILS"} ({bound})')


def restore(restorer: Restorer, film: Path, output: Path, steady: float) -> Path:
    """Restore a film and return the result's path."""
    job = FilmJob(film, output, restorer, Settings(), FilmSettings(steady), FilmFlags(preview='steady' in output.name))
    return job.run(StopSignals()).output


def decode_and_encode(film: Path, output: Path) -> None:
    """Decode a film and encode it as restoring does, and nothing else."""
    info = describe_film(film)
    writer = None
    for frame in read_frames(info):
        writer = writer or SegmentWriter(output, info, choose_encoding(info, None, None, False, 1), frame.video)
        writer.add(frame, frame.video)
    if writer is not None:
        writer.close()


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of wall clock and of CPU."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return the seconds of CPU that this process has taken."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == '__main__':
    main()
