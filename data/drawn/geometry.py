"""The head of a drawn face: 68 landmarks on a surface that can be turned, and the surface seen from the front.

A head is an ellipsoid with relief. Lengths are in eye distances: x to the image's right, y down, z towards the viewer.
A point of the skin has two coordinates, as on a globe: longitude (radians, 0 in the middle of the face) and height
(-1 at the crown, 1 under the chin); the relief says how far the skin lies outside the ellipsoid there.
"""

import dataclasses

import cv2
import numpy as np

LONGITUDE, WIDTH, HEIGHT = 2.0, 640, 440  # textures span longitudes +-2 and heights +-1


@dataclasses.dataclass(frozen=True)
class Person:
    """One person's proportions and expression, in eye distances unless said otherwise.

    Attributes:
        axes: half-axes of the head: width, height, depth.
        eye_opening: 0 closed, 1 wide open.
        brow_raise: upwards.
        nose_length: from the eye line to the tip.
        nose_width: half of it, at the nostrils.
        nose_height: how far the tip stands out.
        mouth_width: half of it.
        mouth_open: distance of the inner lips.
        smile: how far the corners are lifted.
        lips: thickness of each lip.
        jaw: how much the lower face narrows (0 to 0.3).
        yaw: radians, positive turns the face to the image's right.
        pitch: radians, positive looks up.
    """

    axes: tuple[float, float, float]
    eye_opening: float
    brow_raise: float
    nose_length: float
    nose_width: float
    nose_height: float
    mouth_width: float
    mouth_open: float
    smile: float
    lips: float
    jaw: float
    yaw: float
    pitch: float


def draw_person(rng: np.random.Generator) -> Person:
    """Return a random face in a random pose: yaw up to 45 degrees, pitch up to 15."""
    talks = rng.random() < 0.45
    return Person(
        axes=(rng.uniform(1.12, 1.3), rng.uniform(1.7, 1.9), rng.uniform(1.3, 1.5)),
        eye_opening=rng.choice([rng.uniform(0.55, 1.0), rng.uniform(0.0, 0.4)], p=[0.9, 0.1]),
        brow_raise=rng.uniform(-0.05, 0.08),
        nose_length=rng.uniform(0.5, 0.62),
        nose_width=rng.uniform(0.17, 0.25),
        nose_height=rng.uniform(0.16, 0.28),
        mouth_width=rng.uniform(0.36, 0.5),
        mouth_open=rng.uniform(0.05, 0.4) if talks else 0.0,
        smile=rng.uniform(-0.06, 0.16),
        lips=rng.uniform(0.06, 0.12),
        jaw=rng.uniform(0.05, 0.24),
        yaw=float(np.clip(rng.normal(0, 0.35), -0.8, 0.8)),
        pitch=float(np.clip(rng.normal(0, 0.1), -0.25, 0.25)),
    )


def landmarks_on_skin(face: Person) -> np.ndarray:
    """Return the 68 points of iBUG as (68, 2) longitude and height."""
    points = np.zeros((68, 2))
    points[17:] = _to_skin(np.concatenate([_brows(face), _nose(face), _eyes(face), _mouth(face)]), face)
    steps = np.linspace(-1, 1, 17)
    points[:17] = np.stack([1.5 * steps, 0.95 * (1 - np.abs(steps) ** 2.2) + 0.02], 1)
    return points


def relief(face: Person) -> np.ndarray:
    """Return (HEIGHT, WIDTH) float32: how far the skin stands out of the ellipsoid, as a share of its radius."""
    small = (WIDTH // 2, HEIGHT // 2)
    longitude = np.linspace(-LONGITUDE, LONGITUDE, small[0], dtype=np.float32)[None]
    y = np.linspace(-1, 1, small[1], dtype=np.float32)[:, None] * np.float32(face.axes[1])
    x = np.sin(longitude) * np.float32(face.axes[0])
    front = np.cos(np.clip(longitude, -1.5, 1.5))
    x, y, front = (value.astype(np.float32) for value in np.broadcast_arrays(x, y, front))
    ridge = np.clip(y / face.nose_length, 0, 1) * np.clip((face.nose_length + 0.13 - y) / 0.13, 0, 1)
    mouth_y = 1.05 + 0.3 * face.mouth_open
    height = face.nose_height * 0.7 * ridge * _bell(x, 0, 0.07 + 0.07 * np.clip(y, 0, 1))
    for centre_x, centre_y, width_x, width_y, amount in (
        (0, face.nose_length, 0.11, 0.1, 0.3 * face.nose_height),
        (-0.7 * face.nose_width, face.nose_length + 0.07, 0.08, 0.07, 0.06),
        (0.7 * face.nose_width, face.nose_length + 0.07, 0.08, 0.07, 0.06),
        (-0.5, -0.02, 0.24, 0.13, -0.06),
        (0.5, -0.02, 0.24, 0.13, -0.06),
        (-0.5, 0.0, 0.15, 0.09, 0.03),
        (0.5, 0.0, 0.15, 0.09, 0.03),
        (0, -0.33, 0.7, 0.1, 0.025),
        (-0.62, 0.55, 0.25, 0.25, 0.03),
        (0.62, 0.55, 0.25, 0.25, 0.03),
        (0, mouth_y, face.mouth_width, 0.16, 0.05),
        (0, mouth_y + 0.28, 0.3, 0.05, -0.03),
        (0, mouth_y + 0.48, 0.25, 0.16, 0.06),
    ):
        height = height + amount * _bell(x, centre_x, width_x) * _bell(y, centre_y, width_y)
    side = (1 - front**2) * np.clip((y - 0.2) / 1.3, 0, 1)
    height = np.where(front > 0.07, height, 0) - face.jaw * side
    result: np.ndarray = cv2.resize(height.astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return result


def skin_to_texture(skin: np.ndarray) -> np.ndarray:
    """Return (n, 2) pixel places in a texture from (n, 2) longitude and height."""
    return np.stack([(skin[:, 0] / LONGITUDE + 1) / 2 * (WIDTH - 1), (skin[:, 1] + 1) / 2 * (HEIGHT - 1)], 1)


def front_to_texture(points: np.ndarray, face: Person) -> np.ndarray:
    """Return (n, 2) pixel places in a texture from (n, 2) x, y in eye distances as seen from the front."""
    return skin_to_texture(_to_skin(points, face))


def skin_to_space(skin: np.ndarray, height: np.ndarray, face: Person) -> np.ndarray:
    """Return (n, 3) x, y, z of the turned head from (n, 2) longitude and height, with the relief ``height``."""
    places = skin_to_texture(skin).astype(np.float32)
    stand_out = read_texture(height, places[None])[0]
    ring = np.sqrt(np.clip(1 - skin[:, 1] ** 2, 0, 1))
    ball = np.stack([np.sin(skin[:, 0]) * ring, skin[:, 1], np.cos(skin[:, 0]) * ring], 1)
    result: np.ndarray = (ball * (1 + stand_out[:, None]) * face.axes) @ rotation(face).T
    return result


def read_texture(texture: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return ``texture`` (HEIGHT, WIDTH, ...) at ``places`` (n, m, 2), linear in between."""
    return cv2.remap(texture, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def rotation(face: Person) -> np.ndarray:
    """Return the (3, 3) matrix that turns the head into its pose."""
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = np.cos(face.yaw), np.sin(face.yaw), np.cos(face.pitch), np.sin(face.pitch)
    turn = np.array([[cos_yaw, 0, sin_yaw], [0, 1, 0], [-sin_yaw, 0, cos_yaw]])
    nod = np.array([[1, 0, 0], [0, cos_pitch, -sin_pitch], [0, sin_pitch, cos_pitch]])
    result: np.ndarray = nod @ turn
    return result


def cast_rays(
    x: np.ndarray, y: np.ndarray, height: np.ndarray, face: Person
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find what each line of sight meets: depth z (n, m), place in the texture (n, m, 2), whether it meets the head.

    The relief is found by repetition: meet the ellipsoid, read the relief there, meet the ellipsoid grown by it, ...

    Args:
        x: (n, m) float32, in eye distances.
        y: (n, m) float32, in eye distances.
        height: the relief.
        face: axes and pose.
    """
    matrix = (np.diag(1 / np.array(face.axes)) @ rotation(face).T).astype(np.float32)
    start = matrix[:, 0, None, None] * x + matrix[:, 1, None, None] * y
    direction = matrix[:, 2]
    square, half = direction @ direction, np.tensordot(direction, start, 1)
    distance = (start**2).sum(0)
    radius, hit, depth = np.ones_like(x), np.zeros(x.shape, bool), np.zeros_like(x)
    places = np.zeros((*x.shape, 2), np.float32)
    for _ in range(5):
        inside = half**2 - square * (distance - radius**2)
        hit = inside > 0
        depth = (np.sqrt(np.maximum(inside, 0)) - half) / square
        ball = start + direction[:, None, None] * depth
        places[..., 0] = (np.arctan2(ball[0], ball[2]) / LONGITUDE + 1) / 2 * (WIDTH - 1)
        places[..., 1] = (np.clip(ball[1] / radius, -1, 1) + 1) / 2 * (HEIGHT - 1)
        radius = 0.3 * radius + 0.7 * (1 + read_texture(height, places))
    return depth, places, hit


def _to_skin(points: np.ndarray, face: Person) -> np.ndarray:
    height = points[:, 1] / face.axes[1]
    longitude = np.arcsin(np.clip(points[:, 0] / (face.axes[0] * np.sqrt(1 - height**2)), -1, 1))
    return np.stack([longitude, height], 1)


def _bell(value: np.ndarray, centre: float, width: np.ndarray | float) -> np.ndarray:
    result: np.ndarray = np.exp(-(((value - centre) / width) ** 2))
    return result


def _brows(face: Person) -> np.ndarray:
    left = np.array([[-0.86, -0.25], [-0.7, -0.34], [-0.53, -0.37], [-0.36, -0.35], [-0.2, -0.3]])
    left[:, 1] -= face.brow_raise
    return np.concatenate([left, left[::-1] * [-1, 1]])


def _nose(face: Person) -> np.ndarray:
    bridge = np.stack([np.zeros(4), np.linspace(0.02, face.nose_length, 4)], 1)
    x = np.linspace(-face.nose_width, face.nose_width, 5)
    base = np.stack([x, face.nose_length + 0.16 - 0.12 * np.abs(x)], 1)
    return np.concatenate([bridge, base])


def _eyes(face: Person) -> np.ndarray:
    upper, lower = -0.015 - 0.12 * face.eye_opening, 0.02 + 0.045 * face.eye_opening
    left = np.array([[-0.22, 0.015], [-0.08, upper], [0.08, upper], [0.22, 0.03], [0.08, lower], [-0.08, lower]])
    right = left[[3, 2, 1, 0, 5, 4]] * [-1, 1]
    return np.concatenate([left + [-0.5, 0], right + [0.5, 0]])


def _mouth(face: Person) -> np.ndarray:
    """Outer lips clockwise from the corner on the image's left (12), then the inner ones (8)."""
    middle, half_open = 1.05 + 0.3 * face.mouth_open, face.mouth_open / 2
    outer_x, inner_x = face.mouth_width * np.cos(np.linspace(np.pi, 0, 7)), 0.85 * face.mouth_width
    bow = np.array([0, 0.72, 1, 0.88, 1, 0.72, 0])
    upper = np.stack([outer_x, middle - (half_open + face.lips) * bow], 1)
    lower = np.stack([outer_x[5:0:-1], middle + (half_open + 1.1 * face.lips) * np.array([0.6, 0.92, 1, 0.92, 0.6])], 1)
    x = inner_x * np.array([-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5])
    opening = half_open * np.array([0, -0.85, -1, -0.85, 0, 0.85, 1, 0.85])
    points = np.concatenate([upper, lower, np.stack([x, middle + opening], 1)])
    points[:, 1] -= face.smile * (points[:, 0] / face.mouth_width) ** 2
    return points
