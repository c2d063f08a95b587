"""Restores one aligned face with onnxruntime alone: no PyTorch, no mmrbgan.

    mmrbgan export --format onnx -o restorer.onnx
    python restore_onnx.py restorer.onnx face.png restored.png

The face is aligned as FFHQ's are: eyes at (0.377, 0.469) and (0.623, 0.469) of its side, mouth at 0.725 from above.
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image


def restore(session: onnxruntime.InferenceSession, face: Image.Image) -> Image.Image:
    """Return the restored face, of the size of ``face``."""
    side = session.get_inputs()[0].shape[-1]
    small = face.convert('RGB').resize((side, side), Image.Resampling.LANCZOS)
    batch = np.asarray(small, np.float32).transpose(2, 0, 1)[None] / 127.5 - 1  # (1, 3, side, side) in [-1, 1]
    restored = session.run(None, {session.get_inputs()[0].name: batch})[0][0]
    pixels = np.rint((restored.transpose(1, 2, 0).clip(-1, 1) + 1) * 127.5).astype(np.uint8)
    return Image.fromarray(pixels).resize(face.size, Image.Resampling.LANCZOS)


if __name__ == '__main__':
    model, source, target = sys.argv[1:]
    restorer = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    restore(restorer, Image.open(source)).save(target)
