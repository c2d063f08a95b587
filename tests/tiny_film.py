"""What tests of films share: a small film with a moving face, a detector that finds it, a restorer."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from skimage import data
from tiny_restoring import tiny_weights

from mmrbgan import Restorer
from mmrbgan_data.detected_face import DetectedFace

SIDE = 64
POINTS = np.array([[22.0, 27], [42, 27], [32, 38], [24, 48], [40, 48]])  # in the face of 64 px
FACE = cv2.resize(data.astronaut()[30:180, 150:300], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
SIZE = (192, 144)
RATE, SOUND_RATE = 25, 16000


def background(size=SIZE, seed=0):
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.uniform(0, 255, (size[1], size[0], 3)), (0, 0), 4)
    return np.clip(128 + 4 * (image - 128), 0, 255).astype(np.uint8)


def place(t, size=SIZE):
    """Top left corner of the face in frame ``t``."""
    return round(size[0] / 2 - 32 + 20 * np.sin(t / 6)), round(size[1] / 2 - 32 + 12 * np.cos(t / 5))


def picture(t, size=SIZE, face=FACE, seed=0):
    image = background(size, seed)
    x, y = place(t, size)
    image[y : y + SIDE, x : x + SIDE] = face
    return image


def find(image):
    """A detector that looks for the astronaut upright at her size; any correlation above 0.6 is she."""
    scores = cv2.matchTemplate(image, FACE, cv2.TM_CCOEFF_NORMED)
    _, score, _, corner = cv2.minMaxLoc(scores)
    if score < 0.6:
        return []
    points = POINTS + corner
    return [DetectedFace(np.array([*corner, corner[0] + SIDE, corner[1] + SIDE], float), score, points)]


def restorer(folder: Path, detector=find, **options) -> Restorer:
    return Restorer(
        tiny_weights(folder), device='cpu', detector=detector, mask='ellipse', precision='float32', **options
    )


def write_film(
    path: Path,
    pictures,
    *,
    codec='libx264',
    pixel_format='yuv420p',
    pts=None,
    time_base=Fraction(1, 12800),
    sounds=1,
    rotation=0,
    setup=None,
    options=None,
    container=None,
):
    """Write RGB pictures; ``pts`` are ticks (default: 25 a second); ``setup(container, stream)`` may set more."""
    pictures = list(pictures)
    pts = pts or [t * int(1 / (time_base * RATE)) for t in range(len(pictures))]
    with av.open(str(path), 'w', format=container) as target:
        stream = target.add_stream(
            codec, rate=RATE, options={'crf': '20', 'preset': 'fast'} if options is None else options
        )
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = stream.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        tones = [target.add_stream('aac', rate=SOUND_RATE, layout='mono') for _ in range(sounds)]
        for number, tone in enumerate(tones):
            tone.metadata['language'] = ('eng', 'fra')[number]
        if setup:
            setup(target, stream)
        for time, image in zip(pts, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(image, 'rgb24').reformat(format=pixel_format)
            frame.pts, frame.time_base = time, time_base
            target.mux(stream.encode(frame))
        for number, tone in enumerate(tones):
            _write_tone(target, tone, 220 * (number + 1), float(pts[-1] * time_base) + 1 / RATE)
        target.mux(stream.encode(None))


def _write_tone(target, stream, pitch, seconds):
    for start in range(0, round(seconds * SOUND_RATE), 1024):
        wave = 0.3 * np.sin(2 * np.pi * pitch * (start + np.arange(1024)) / SOUND_RATE)
        frame = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), 'fltp', 'mono')
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        target.mux(stream.encode(frame))
    target.mux(stream.encode(None))


def read_film(path: Path):
    """Frames RGB uint8 and their times in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format='rgb24') for frame in frames], [frame.pts * frame.time_base for frame in frames]


def planes_of(path: Path):
    """Each frame's planes as bytes."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]


def sound_packets(path: Path, number=0):
    """(time, content) of each packet of a sound track."""
    with av.open(str(path)) as container:
        packets = container.demux(container.streams.audio[number])
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in packets if packet.pts is not None]
