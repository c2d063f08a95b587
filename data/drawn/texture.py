"""The skin of a drawn face, painted on the globe that ``geometry`` describes: eyes, brows, nose, lips, hair."""

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import HEIGHT, WIDTH, Person, front_to_texture, landmarks_on_skin, skin_to_texture

Colour = np.ndarray | Sequence[float] | float

SHIFT = 4  # OpenCV draws with this many bits of sub-pixel precision
SKIN_TONES = ((236, 196, 172), (222, 172, 140), (198, 146, 112), (168, 116, 84), (128, 84, 60), (92, 60, 44))
HAIR_TONES = (
    (36, 28, 26),
    (70, 44, 30),
    (112, 72, 42),
    (176, 130, 76),
    (212, 180, 128),
    (150, 62, 34),
    (160, 158, 156),
)
IRIS_TONES = ((66, 40, 22), (98, 64, 34), (110, 120, 70), (80, 120, 130), (70, 110, 160))


def paint(face: Person, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the texture uint8 (HEIGHT, WIDTH, 3), where hair grows (HEIGHT, WIDTH) in [0, 1], the skin tone (3,)."""
    tone = np.array(SKIN_TONES[rng.integers(len(SKIN_TONES))], np.float32) * np.float32(rng.uniform(0.93, 1.07))
    hair_tone = np.array(HAIR_TONES[rng.integers(len(HAIR_TONES))], np.float32)
    iris_tone = np.array(IRIS_TONES[rng.integers(len(IRIS_TONES))], np.float32)
    points = skin_to_texture(landmarks_on_skin(face))
    canvas = _skin(tone, face, rng)
    for eye in (points[36:42], points[42:48]):
        _paint_eye(*_window(canvas, eye, 30), tone, iris_tone, face.eye_opening, rng)
    _paint_nose(*_window(canvas, points[27:36], 20), tone)
    _paint_mouth(*_window(canvas, points[48:68], 12), tone, rng)
    for brow in (points[17:22], points[22:27]):
        _paint_brow(canvas, brow, hair_tone, rng)
    if rng.random() < 0.25:
        _paint_beard(canvas, face, hair_tone, rng)
    if rng.random() < 0.12:
        _paint_glasses(canvas, points, rng)
    hair = _hair_mask(rng)
    strands = hair_strands((HEIGHT, WIDTH), hair_tone, rng)
    canvas += (strands - canvas) * hair[..., None]
    return np.clip(canvas, 0, 255).astype(np.uint8), hair, tone


def noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Return smooth noise (h, w), float32, mean 0 and deviation about 1, whose spots are ``scale`` pixels wide."""
    small = rng.standard_normal((int(shape[0] / scale) + 3, int(shape[1] / scale) + 3), dtype=np.float32)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


def hair_strands(shape: tuple[int, int], tone: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a picture (h, w, 3) of hair of about ``tone``: noise combed downwards, waved, with lighter bands."""
    height, width = shape
    small = rng.standard_normal((height // 24 + 2, width), dtype=np.float32)
    combed = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    wave, length, lean = rng.uniform((0, 40, -0.4), (12, 160, 0.4)).astype(np.float32)
    fibre = np.asarray(
        cv2.remap(combed, x + wave * np.sin(y / length) + lean * y, y, cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)
    )
    locks = noise(shape, 18, rng)
    light = 1 + 0.3 * fibre + 0.15 * locks + 0.2 * np.sin(y / np.float32(rng.uniform(25, 60)))
    result: np.ndarray = tone * np.clip(light, 0.25, 2.2)[..., None] + 6
    return result


def _skin(tone: np.ndarray, face: Person, rng: np.random.Generator) -> np.ndarray:
    """Return skin (HEIGHT, WIDTH, 3) float: pores, blotches, red cheeks, freckles, folds."""
    shape = (HEIGHT, WIDTH)
    light = 1 + 0.03 * noise(shape, 60, rng) + 0.025 * noise(shape, 9, rng) + 0.025 * noise(shape, 2, rng)
    canvas = tone * light[..., None]
    red = np.zeros(shape, np.float32)
    for x, y, radius in ((-0.6, 0.6, 42), (0.6, 0.6, 42), (0, face.nose_length, 22)):
        _disc(red, front_to_texture(np.array([[x, y]]), face)[0], radius)
    canvas += cv2.GaussianBlur(red, (0, 0), 18)[..., None] * np.float32(rng.uniform(0, 1.6) * np.array([14, -8, -6]))
    if rng.random() < 0.3:
        freckles = np.zeros(shape, np.float32)
        for place in rng.normal((0, 0.45), (0.55, 0.2), (90, 2)):
            if abs(place[0]) < 1:
                _disc(freckles, front_to_texture(place[None], face)[0], rng.uniform(0.8, 2))
        canvas *= 1 - np.float32(0.25) * cv2.GaussianBlur(freckles, (0, 0), 0.8)[..., None]
    result: np.ndarray = canvas * (1 - _folds(face, rng)[..., None])
    return result


def _folds(face: Person, rng: np.random.Generator) -> np.ndarray:
    """Return how much darker the folds of age and laughter are (HEIGHT, WIDTH), 0 to about 0.3."""
    folds = np.zeros((HEIGHT, WIDTH), np.float32)
    age = np.float32(rng.uniform(0.05, 0.5))
    for side in (-1, 1):
        laugh = np.array([[face.nose_width + 0.05, 0.62], [0.42, 0.8], [face.mouth_width + 0.1, 1.0]]) * [side, 1]
        bag = np.array([[0.28, 0.16], [0.5, 0.22], [0.7, 0.16]]) * [side, 1]
        for line in (laugh, bag):
            _line(folds, front_to_texture(_curve(line), face), 1, 3)
    for y in np.linspace(-0.75, -0.5, rng.integers(0, 4)):
        x = np.linspace(-0.6, 0.6, 12)
        _line(folds, front_to_texture(np.stack([x, y + 0.02 * np.sin(5 * x + 9 * y)], 1), face), 1, 2)
    result: np.ndarray = age * cv2.GaussianBlur(folds, (0, 0), 2.2)
    return result


def _paint_eye(
    canvas: np.ndarray,
    eye: np.ndarray,
    tone: np.ndarray,
    iris_tone: np.ndarray,
    opening: float,
    rng: np.random.Generator,
) -> None:
    """Paint lids, white, iris with rays, pupil, light and lashes inside the six points ``eye``."""
    upper, lower = _curve(eye[:4]), _curve(eye[[0, 5, 4, 3]])
    centre, width = (eye[0] + eye[3]) / 2, eye[3, 0] - eye[0, 0]
    socket = np.zeros(canvas.shape[:2], np.float32)
    _disc(socket, centre - [0, 6], width * 0.55)
    canvas *= 1 - np.float32(0.16) * cv2.GaussianBlur(socket, (0, 0), 9)[..., None]
    _line(canvas, upper - [0, 0.16 * width], tone * 0.7, 2)
    if opening > 0.25:
        gaze = centre + [rng.uniform(-0.05, 0.05) * width, -1]
        _blend(canvas, _eyeball(canvas, gaze, width * 0.21, iris_tone, rng), np.concatenate([upper, lower[::-1]]))
        _line(canvas, lower, tone * 0.72, 1)
    _line(canvas, upper, (30, 22, 20), 3)
    for start in upper[1::2]:
        lean = (start[0] - centre[0]) / width
        _line(canvas, np.stack([start, start + [9 * lean, -rng.uniform(4, 7)]]), (30, 22, 20), 1)


def _eyeball(
    canvas: np.ndarray, centre: np.ndarray, radius: float, iris_tone: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    ball = np.empty_like(canvas)
    ball[:] = np.array((228, 222, 218), np.float32) * (
        1 + np.float32(0.03) * noise(canvas.shape[:2], 6, rng)[..., None]
    )
    _disc(ball, centre, radius, iris_tone * 0.5)
    _disc(ball, centre, radius * 0.88, iris_tone)
    for angle in rng.uniform(0, 2 * np.pi, 26):
        ray = radius * np.array([np.cos(angle), np.sin(angle)])
        _line(ball, np.stack([centre + 0.4 * ray, centre + 0.85 * ray]), iris_tone * 1.35, 1)
    _disc(ball, centre, radius * 0.42, (12, 10, 10))
    _disc(ball, centre + [-0.35 * radius, -0.4 * radius], radius * 0.22, (250, 250, 250))
    return ball


def _paint_nose(canvas: np.ndarray, nose: np.ndarray, tone: np.ndarray) -> None:
    shade = np.zeros(canvas.shape[:2], np.float32)
    _line(shade, _curve(nose[4:9]), 1, 4)
    canvas *= 1 - np.float32(0.3) * cv2.GaussianBlur(shade, (0, 0), 3)[..., None]
    axes = _fixed(np.array([6.5, 3]))
    for nostril in (nose[5], nose[7]):
        cv2.ellipse(canvas, _fixed(nostril - [0, 3]), axes, 0, 0, 360, (tone * 0.3).tolist(), -1, cv2.LINE_AA, SHIFT)


def _paint_mouth(canvas: np.ndarray, mouth: np.ndarray, tone: np.ndarray, rng: np.random.Generator) -> None:
    """Paint lips with fine furrows, and what is between them where the mouth is open."""
    tints = np.array([(0.92, 0.68, 0.68), (0.98, 0.52, 0.55), (0.8, 0.4, 0.45)], np.float32)
    colour = tone * tints[rng.choice(3, p=[0.6, 0.25, 0.15])]
    outer = np.concatenate([_curve(mouth[0:7]), _curve(mouth[[6, 7, 8, 9, 10, 11, 0]])])
    size = canvas.shape[1::-1]
    furrows = cv2.resize(rng.standard_normal((6, size[0] // 2), dtype=np.float32), size)
    height = (np.arange(size[1], dtype=np.float32) - mouth[:, 1].mean())[:, None]
    light = 1 + 0.07 * furrows + 0.12 * np.exp(-(((height - 9) / 5) ** 2)) - 0.1 * (height < 0)
    _blend(canvas, colour * light[..., None], outer)
    inner = mouth[12:20]
    if np.ptp(inner[[2, 6], 1]) < 4:
        _line(canvas, _curve(inner[:5]), colour * 0.4, 2)
        return
    opening = np.concatenate([_curve(inner[:5]), _curve(inner[[4, 5, 6, 7, 0]])])
    _blend(canvas, _inner_mouth(canvas, inner), opening)


def _inner_mouth(canvas: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """Return teeth, tongue and dark for the gap between the inner lips (8, 2)."""
    inside = np.empty_like(canvas)
    inside[:] = (70, 22, 24)
    top, bottom = inner[2, 1], inner[6, 1]
    first, last = max(int(top) - 6, 0), int(top + min(16, 0.55 * (bottom - top)))
    inside[first:last] = (232, 226, 212)
    for x in np.arange(inner[0, 0], inner[4, 0], 8):
        _line(inside, np.array([[x, first], [x, last - 1]]), (190, 180, 166), 1)
    _disc(inside, np.array([inner[6, 0], bottom + 4]), 20, (176, 84, 88))
    return inside


def _paint_brow(canvas: np.ndarray, brow: np.ndarray, tone: np.ndarray, rng: np.random.Generator) -> None:
    spine = _curve(brow, 60)
    thick, side = rng.uniform(3, 6), np.sign(brow[-1, 0] - brow[0, 0]) * (1 if brow[0, 1] > brow[-1, 1] else -1)
    for place in spine.repeat(3, 0):
        root = place + rng.normal(0, (1.5, thick / 2))
        tip = root + [side * rng.uniform(3, 8), rng.uniform(-4, 0)]
        _line(canvas, np.stack([root, tip]), tone * rng.uniform(0.5, 1.0), 1)


def _paint_beard(canvas: np.ndarray, face: Person, tone: np.ndarray, rng: np.random.Generator) -> None:
    """Paint short hairs on chin, cheeks and above the lip."""
    places = np.concatenate(
        [rng.normal((0, 1.5), (0.5, 0.13), (500, 2)), rng.normal((0, 0.86), (0.25, 0.025), (160, 2))]
    )
    places = places[(np.abs(places[:, 0]) < 0.95) & (places[:, 1] < 1.62)]
    for root in front_to_texture(places, face):
        _line(canvas, np.stack([root, root + rng.normal((0, 4), 1.5)]), tone * rng.uniform(0.5, 1.1), 1)


def _paint_glasses(canvas: np.ndarray, points: np.ndarray, rng: np.random.Generator) -> None:
    colour, thick = rng.uniform(10, 90, 3), int(rng.integers(2, 6))
    centres = [points[36:42].mean(0), points[42:48].mean(0)]
    axes = (int(rng.uniform(46, 54) * 2**SHIFT), int(rng.uniform(30, 42) * 2**SHIFT))
    for centre in centres:
        cv2.ellipse(canvas, _fixed(centre), axes, 0, 0, 360, colour.tolist(), thick, cv2.LINE_AA, SHIFT)
    reach = axes[0] / 2**SHIFT
    for start, end in (
        (centres[0][0] + reach, centres[1][0] - reach),
        (0, centres[0][0] - reach),
        (centres[1][0] + reach, WIDTH),
    ):
        _line(canvas, np.array([[start, centres[0][1] - 4], [end, centres[0][1] - 4]]), colour, thick)


def _hair_mask(rng: np.random.Generator) -> np.ndarray:
    """Return where hair grows, 0 to 1 with a ragged edge: above a hairline, and down the sides."""
    longitude = np.linspace(-2, 2, WIDTH, dtype=np.float32)[None]
    height = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    line, parting = rng.uniform(-0.68, -0.42), rng.uniform(-0.5, 0.5)
    side, length = rng.uniform(1.15, 1.4), rng.choice([0.0, 0.25, 2.0])
    fringe = rng.uniform(0.02, 0.08) * np.cos(rng.uniform(2, 5) * (longitude - parting))
    ragged = 0.012 * rng.standard_normal((1, WIDTH), dtype=np.float32)
    top = (line + fringe + ragged + 0.45 * (np.abs(longitude) / side) ** 4 - height) / 0.04
    sides = np.minimum((np.abs(longitude) - side + 0.1 * height) / 0.05, (length - height) / 0.1)
    if rng.random() < 0.07:
        top, sides = np.full_like(top, -1), np.minimum(sides, (height + 0.1) / 0.1)
    result: np.ndarray = np.clip(np.maximum(top, sides), 0, 1).astype(np.float32)
    return result


def _window(canvas: np.ndarray, points: np.ndarray, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the part of ``canvas`` around ``points``, to paint into, and the points counted from its corner."""
    low = np.maximum(points.min(0).astype(int) - margin, 0)
    high = points.max(0).astype(int) + margin
    return canvas[low[1] : high[1], low[0] : high[0]], points - low


def _blend(canvas: np.ndarray, paint: np.ndarray, outline: np.ndarray) -> None:
    """Put ``paint`` (h, w, 3) into ``canvas`` inside the polygon ``outline`` (n, 2)."""
    cover = np.zeros(canvas.shape[:2], np.float32)
    cv2.fillPoly(cover, [np.round(outline * 2**SHIFT).astype(np.int32)], 1, cv2.LINE_AA, SHIFT)
    canvas += (paint - canvas) * cover[..., None]


def _curve(points: np.ndarray, count: int = 16) -> np.ndarray:
    """Return a smooth line of ``count`` points through ``points`` (n, 2) (Catmull-Rom)."""
    steps = np.linspace(0, len(points) - 1 - 1e-6, count)
    index, t = steps.astype(int), (steps % 1)[:, None]
    ends = np.concatenate([[2 * points[0] - points[1]], points, [2 * points[-1] - points[-2]]])
    a, b, c, d = (ends[index + shift] for shift in range(4))
    result: np.ndarray = 0.5 * (
        2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3
    )
    return result


def _fixed(point: np.ndarray) -> tuple[int, int]:
    return round(point[0] * 2**SHIFT), round(point[1] * 2**SHIFT)


def _colour(value: Colour) -> Sequence[float] | float:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _line(canvas: np.ndarray, points: np.ndarray, colour: Colour, thickness: int) -> None:
    fixed = np.round(points * 2**SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed], False, _colour(colour), thickness, cv2.LINE_AA, SHIFT)


def _disc(canvas: np.ndarray, centre: np.ndarray, radius: float, colour: Colour = 1) -> None:
    cv2.circle(canvas, _fixed(centre), int(radius * 2**SHIFT), _colour(colour), -1, cv2.LINE_AA, SHIFT)
