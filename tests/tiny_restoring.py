"""What tests of restoring share: a photograph without faces, a detector that finds three in it, a tiny network."""

from pathlib import Path

import cv2
import numpy as np
import torch

from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.weights_io import write_weights
from mmrbgan_data.alignment import TEMPLATE_512
from mmrbgan_data.detected_face import DetectedFace

CENTRES = ((90, 100), (230, 110), (150, 190))
SIDES = (110, 90, 24)


def stand_in(image):
    """A detector that finds three faces, the last one tiny, wherever it looks."""
    points = [(TEMPLATE_512 - 256) / 512 * side + centre for side, centre in zip(SIDES, CENTRES, strict=True)]
    boxes = [
        np.concatenate([each.min(0) - side / 6, each.max(0) + side / 6])
        for each, side in zip(points, SIDES, strict=True)
    ]
    return [DetectedFace(box, 1.0, each) for box, each in zip(boxes, points, strict=True)]


def photograph(dtype=np.uint8, channels=3):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.normal(size=(240, 320, channels)), (0, 0), 3)
    image = (image - image.min()) / (image.max() - image.min())
    return np.rint(image * np.iinfo(dtype).max).astype(dtype)


def tiny_weights(folder: Path, size: int = 32) -> Path:
    """A network of random weights that changes what it is given."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = MMRBGAN(out_size=size, narrow=0.0625, style_dim=16, num_mlp=1, noise_start=0.0)
    write_weights(folder / 'tiny.safetensors', network.state_dict())
    return folder / 'tiny.safetensors'
