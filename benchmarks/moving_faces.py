"""Makes a film of faces that move, turn in the plane, zoom, talk and blink, with a cut; the true one and a damaged one.

The faces are stills: aligned ones of a folder (with landmarks.csv beside them), else the astronaut of scikit-image.
"""

import csv
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from skimage import data

RATE, SOUND_RATE, TONE = 25, 48000, 440
ALIGNED = 512
EYES, MOUTH = ((193.0, 240.0), (319.0, 240.0)), (257.0, 371.0)  # in an aligned face of 512 px


def faces_of(folder: Path | None, count: int) -> list[np.ndarray]:
    """Return ``count`` aligned frontal faces (512, 512, 3) RGB uint8."""
    rows = []
    if folder is not None and (folder / 'landmarks.csv').is_file():
        with (folder / 'landmarks.csv').open() as file:
            rows = [row for row in csv.DictReader(file) if abs(float(row['yaw'])) < 0.1]
    if not rows:
        face = cv2.warpAffine(data.astronaut(), _astronaut(), (ALIGNED, ALIGNED), flags=cv2.INTER_CUBIC)
        return [face if i % 2 == 0 else face[:, ::-1].copy() for i in range(count)]
    names = [rows[i * len(rows) // count]['file'] for i in range(count)]
    return [cv2.cvtColor(cv2.imread(str(folder / name)), cv2.COLOR_BGR2RGB) for name in names]  # type: ignore[operator]


def _astronaut() -> np.ndarray:
    source = np.float32([[203, 100], [251, 102], [226, 154]])  # eyes and mouth of the photograph
    return cv2.getAffineTransform(source, np.float32([*EYES, MOUTH]))


def true_frames(size: tuple[int, int], frames: int, faces: list[np.ndarray], per_frame: int) -> Iterator[np.ndarray]:
    """Yield RGB uint8 (h, w, 3); the second half is another shot, of other faces where there are enough.

    Args:
        size: (width, height).
        frames: how many.
        faces: aligned ones.
        per_frame: faces at once.
    """
    width, height = size
    backgrounds = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (data.coffee(), data.rocket())]
    for t in range(frames):
        shot = int(t >= frames // 2)
        shift = int(6 * np.sin(t / 20))
        image = np.roll(backgrounds[shot], shift, 1).astype(np.float32)
        for k in range(per_frame):
            face = faces[(k + shot * per_frame) % len(faces)]
            cell = width / per_frame
            centre = (cell * (k + 0.5) + 0.1 * cell * np.sin(t / 9 + k), height * (0.5 + 0.06 * np.sin(t / 7 + 2 * k)))
            side = min(1.15 * cell, 1.05 * height) * (0.8 + 0.12 * np.sin(t / 15 + k))
            matrix = _placed(centre, side, 12 * np.sin(t / 11 + k))
            _lay(image, _talking(face, t + 7 * k), matrix)
        yield np.clip(image, 0, 255).astype(np.uint8)


def _placed(centre: tuple[float, float], side: float, angle: float) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D((ALIGNED / 2, ALIGNED / 2), angle, side / ALIGNED)
    matrix[:, 2] += np.array(centre) - ALIGNED / 2
    return matrix


def _lay(image: np.ndarray, face: np.ndarray, matrix: np.ndarray) -> None:
    height, width = image.shape[:2]
    scale = np.hypot(matrix[0, 0], matrix[0, 1])
    small = cv2.GaussianBlur(face, (0, 0), max(0.01, 0.4 / scale)) if scale < 1 else face
    y, x = np.mgrid[:ALIGNED, :ALIGNED].astype(np.float32)
    edge = np.minimum(np.minimum(x, ALIGNED - 1 - x), np.minimum(y, ALIGNED - 1 - y)) / 40
    mask = cv2.warpAffine(np.clip(edge, 0, 1), matrix, (width, height))[:, :, None]
    laid = cv2.warpAffine(small, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    image += mask * (laid - image)


def _talking(face: np.ndarray, t: int) -> np.ndarray:
    """Return the face with its mouth opened and its eyes shut now and then, by bending the picture."""
    y, x = np.mgrid[:ALIGNED, :ALIGNED].astype(np.float32)
    opened = 10 * max(0.0, np.sin(t / 4))
    near = np.exp(-(((x - MOUTH[0]) / 60) ** 2 + ((y - MOUTH[1]) / 40) ** 2))
    source_y = y - opened * near * np.tanh((y - MOUTH[1]) / 12)
    shut = max(0.0, 1 - abs(t % 40 - 20) / 2.5)  # a blink of five frames every 40
    for eye in EYES:
        near = np.exp(-(((x - eye[0]) / 34) ** 2 + ((y - eye[1]) / 22) ** 2))
        source_y += 1.2 * shut * near * (y - eye[1])
    return cv2.remap(face, x, source_y.astype(np.float32), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def damage(image: np.ndarray, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Return the frame blurred by a smaller size, with noise and JPEG's blocks."""
    height, width = image.shape[:2]
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    noisy = small + rng.normal(0, 6, small.shape)
    jpeg = cv2.imencode('.jpg', np.clip(noisy, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 55])[1]
    return cv2.resize(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), (width, height), interpolation=cv2.INTER_CUBIC)


def write_film(path: Path, frames: Iterator[np.ndarray], codec: str, options: dict[str, str]) -> None:
    """Write RGB frames with a tone as sound."""
    with av.open(str(path), 'w') as container:
        picture = sound = None
        for t, image in enumerate(frames):
            if picture is None:
                picture = container.add_stream(codec, rate=RATE, options=options)
                picture.width, picture.height, picture.pix_fmt = image.shape[1], image.shape[0], 'yuv420p'
                picture.codec_context.time_base = Fraction(1, RATE)
                sound = container.add_stream('aac', rate=SOUND_RATE, layout='mono')
            frame = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(
                format='yuv420p', dst_colorspace='ITU709' if image.shape[0] >= 720 else 'ITU601'
            )
            frame.pts, frame.time_base = t, Fraction(1, RATE)
            container.mux(picture.encode(frame))
            container.mux(sound.encode(_tone(t)))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))


def _tone(t: int) -> av.AudioFrame:
    count = SOUND_RATE // RATE
    times = (np.arange(count) + t * count) / SOUND_RATE
    wave = (0.3 * np.sin(2 * np.pi * TONE * times)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave[None], 'fltp', 'mono')
    frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, t * count, Fraction(1, SOUND_RATE)
    return frame


def make_films(
    folder: Path, size: tuple[int, int], frames: int, per_frame: int, faces: Path | None, scale: float = 0.4
) -> tuple[Path, Path]:
    """Write true.mkv (without loss) and film.mp4 (damaged, H.264) into ``folder``; return their paths."""
    stills = faces_of(faces, 2 * per_frame)
    rng = np.random.default_rng(0)
    true, damaged = folder / 'true.mkv', folder / 'film.mp4'
    write_film(true, true_frames(size, frames, stills, per_frame), 'ffv1', {})
    bad = (damage(image, rng, scale) for image in true_frames(size, frames, stills, per_frame))
    write_film(damaged, bad, 'libx264', {'crf': '18', 'preset': 'fast'})
    return true, damaged


def chain_films(films: Sequence[Path], output: Path) -> None:
    """Write films of one kind into one, one after the other, without encoding."""
    with av.open(str(output), 'w') as target:
        streams: dict[int, Any] = {}
        ends: dict[int, int] = {}
        for film in films:
            with av.open(str(film)) as source:
                shifts: dict[int, int] = {}
                streams = streams or {s.index: target.add_stream_from_template(s) for s in source.streams}
                for packet in source.demux():
                    if packet.pts is None or packet.dts is None:
                        continue
                    index = packet.stream_index
                    shift = shifts.setdefault(index, ends.get(index, packet.pts) - packet.pts)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    ends[index] = max(ends.get(index, 0), packet.pts + (packet.duration or 0))
                    packet.stream = streams[index]
                    target.mux(packet)
