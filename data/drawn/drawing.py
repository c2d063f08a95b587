"""Drawn faces for runs without any download: many poses and expressions, landmarks known exactly, aligned as FFHQ is.

Not photographs, but enough like them for a restorer to learn from: shaded skin with pores and folds, eyes, lips,
strands of hair, clothes and patterned backgrounds.
"""

import cv2
import numpy as np

from ..alignment import apply, five_points, invert, similarity, template
from .geometry import cast_rays, draw_person, landmarks_on_skin, read_texture, relief, skin_to_space
from .texture import hair_strands, noise, paint

OVERSAMPLING = 1.5


def draw_face(rng: np.random.Generator, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Return a drawn face, RGB uint8 (size, size, 3), and its 68 landmarks (68, 2) in pixels."""
    face = draw_person(rng)
    texture, hair, tone = paint(face, rng)
    height = relief(face) + 0.09 * cv2.GaussianBlur(hair, (0, 0), 6)
    points = skin_to_space(landmarks_on_skin(face), height, face)[:, :2]
    to_pixels = similarity(five_points(points), template(size))
    large = round(size * OVERSAMPLING)
    x, y = _sight(to_pixels, size, large)
    depth, places, hit = cast_rays(x, y, height, face)
    scene = _scene(x, y, tone, texture, rng).astype(np.float32)
    skin = read_texture(texture, places)
    lit = skin * _shading(depth, x[0, 1] - x[0, 0], rng)
    cover = cv2.GaussianBlur(hit.astype(np.float32), (3, 3), 0)[..., None] * hit[..., None]
    image = scene * (1 - cover) + lit * cover
    image = cv2.resize(np.clip(image, 0, 255), (size, size), interpolation=cv2.INTER_AREA)
    grain = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0, 2.5))
    image = image * np.float32(rng.uniform(0.9, 1.1, 3)) + grain
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), apply(to_pixels, points)


def _sight(to_pixels: np.ndarray, size: int, large: int) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y (large, large), in eye distances, of every pixel of the enlarged picture."""
    back = invert(to_pixels)
    steps = (np.arange(large) + 0.5) * (size / large) - 0.5
    column, row = np.meshgrid(steps, steps)
    grid = np.tensordot(back[:, :2], np.stack([column, row]), 1) + back[:, 2, None, None]
    return grid[0].astype(np.float32), grid[1].astype(np.float32)


def _shading(depth: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    """Return the light (h, w, 3) on a surface of ``depth``: one coloured lamp, ambient light, a little gloss."""
    depth = cv2.GaussianBlur(depth, (0, 0), 1.2)
    slope_x, slope_y = (cv2.Sobel(depth, -1, *axis, ksize=3, scale=1 / (8 * step)) for axis in ((1, 0), (0, 1)))
    normal = np.stack([-slope_x, -slope_y, np.ones_like(depth)], 2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    lamp = np.array([rng.uniform(-0.8, 0.8), rng.uniform(-0.9, 0.1), 0.75], np.float32)
    lamp /= np.linalg.norm(lamp)
    direct = np.clip(normal @ lamp, 0, 1)[..., None]
    ambient = rng.uniform(0.3, 0.6)
    colour = np.array([1, rng.uniform(0.9, 1), rng.uniform(0.8, 1)], np.float32)
    half = lamp + np.array([0, 0, 1], np.float32)
    gloss = np.clip(normal @ (half / np.linalg.norm(half)), 0, 1)[..., None] ** 24
    result: np.ndarray = (ambient + (1.15 - ambient) * direct * colour + rng.uniform(0, 0.22) * gloss).astype(
        np.float32
    )
    return result


def _scene(x: np.ndarray, y: np.ndarray, tone: np.ndarray, texture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return what lies behind the face (h, w, 3): background, hair on the shoulders, neck, clothes."""
    scene = _background(x, y, rng)
    hair = texture[3, texture.shape[1] // 2].astype(np.float32)
    if rng.random() < 0.45:
        edge = 1.25 + 0.25 * np.clip(y, 0, 2) + 0.04 * noise(x.shape, 12, rng)
        scene = _lay(scene, hair_strands(x.shape, hair, rng), (edge - np.abs(x)) / 0.05 * (y > -0.6))
    shade = np.clip(1 - np.abs(x) ** 2 * 0.6, 0.3, 1) * np.clip(0.45 + 0.25 * (y - 1.2), 0.3, 0.8)
    neck = tone * (shade * (1 + 0.03 * noise(x.shape, 3, rng)))[..., None]
    scene = _lay(scene, neck, (0.62 + 0.1 * np.clip(y - 1.6, 0, 1) - np.abs(x)) / 0.04 * (y > 0.8))
    collar = 2.0 + 0.2 * rng.random() - 0.5 * np.clip(np.abs(x) - 0.5, 0, 0.6) + 0.3 * np.clip(np.abs(x) - 1.1, 0, 2)
    return _lay(scene, _pattern(x, y, rng), (y - collar) / 0.03)


def _lay(below: np.ndarray, above: np.ndarray, cover: np.ndarray) -> np.ndarray:
    cover = np.clip(cover, 0, 1)[..., None]
    result: np.ndarray = below + (above - below) * cover.astype(np.float32)
    return result


def _background(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a wall with a pattern, or coloured spots out of focus, more or less blurred."""
    if rng.random() < 0.4:
        ground = 0.5 + 0.25 * np.stack([noise(x.shape, rng.uniform(12, 60), rng) for _ in range(3)], 2)
        ground = np.clip(ground.mean(2, keepdims=True) * 0.7 + ground * 0.3, 0, 1) * _paint_tone(rng)
    else:
        ground = _pattern(x, y, rng)
    blur = rng.choice([0, 1.5, 4, 9])
    soft = cv2.GaussianBlur(ground.astype(np.float32), (0, 0), blur) if blur else ground
    return soft * (1 + 0.25 * (rng.uniform(-1, 1) * x + rng.uniform(-1, 1) * y) / 2)[..., None]


def _pattern(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return stripes, checks, dots, bricks or cloth (h, w, 3) in two colours."""
    angle, pitch = rng.uniform(0, np.pi), np.float32(rng.uniform(6, 30))
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u, v = cosine * x + sine * y, cosine * y - sine * x
    wave_u, wave_v = np.sin(pitch * u), np.sin(pitch * v)
    kind = rng.integers(5)
    if kind == 0:
        share = 0.5 + 0.5 * wave_u
    elif kind == 1:
        share = (wave_u * wave_v > 0).astype(float)
    elif kind == 2:
        share = np.clip(4 * (wave_u + wave_v - 1), 0, 1)
    elif kind == 3:
        row = np.floor(pitch / 6 * y)
        share = ((pitch / 6 * y % 1 < 0.12) | ((pitch / 12 * x + row / 2) % 1 < 0.06)).astype(float)
    else:
        share = 0.5 + 0.2 * noise(x.shape, 2, rng) + 0.15 * noise(x.shape, 30, rng)
    first, second = _paint_tone(rng), _paint_tone(rng)
    share = np.clip(share, 0, 1).astype(np.float32)[..., None]
    result: np.ndarray = (first + (second - first) * share) * (1 + 0.05 * noise(x.shape, 3, rng))[..., None]
    return result


def _paint_tone(rng: np.random.Generator) -> np.ndarray:
    """Return a colour (3,) as walls and cloth have it: of any lightness, seldom garish."""
    grey = rng.uniform(30, 230)
    result: np.ndarray = np.float32(np.clip(grey + rng.uniform(0.05, 0.6) * rng.uniform(-90, 90, 3), 10, 245))
    return result
