"""Puts restored faces back into the photograph, exactly where they were, and changes nothing else.

facexlib's helper pastes half an output pixel off at every scale above 1; here every resize and warp counts from the
middle of the pixels. What is pasted is the *change* of the aligned crop, so that detail finer than the network's pixels
stays, a network that changes nothing gives the photograph back bit for bit, and so does every pixel without a face.
"""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from mmrbgan_data.alignment import apply, compose, invert, resize_matrix, warp

COLOUR_SIGMA = 1 / 16  # of the crop's side: slower changes of colour than this are the input's own


@dataclasses.dataclass(frozen=True, eq=False)
class FaceChange:
    """A restored face that waits to be pasted.

    Attributes:
        matrix: (2, 3), from the photograph's pixels to the crop's.
        before: (s, s, 3) float32 RGB in [0, 1], the aligned crop.
        after: (s, s, 3), the same, restored.
        mask: (s, s) float32 in [0, 1].
        strength: 0 leaves the photograph as it is.
    """

    matrix: np.ndarray
    before: np.ndarray
    after: np.ndarray
    mask: np.ndarray
    strength: float = 1.0


def keep_colour(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return ``after`` with the slow changes of colour and light of ``before``; both (s, s, 3) float32."""
    drift = after - before
    result: np.ndarray = after - cv2.GaussianBlur(
        drift, (0, 0), COLOUR_SIGMA * before.shape[0], borderType=cv2.BORDER_REPLICATE
    )
    return result


def paste_faces(
    background: np.ndarray, changes: Sequence[FaceChange], size: tuple[int, int], keep_detail: bool = True
) -> np.ndarray:
    """Return the photograph with the faces in it; ``background`` is never written to.

    Args:
        background: (h, w, 3) RGB, uint8 or uint16, the photograph or its enlargement.
        changes: the restored faces; where two overlap, the later lies above.
        size: (width, height) of the photograph, in whose pixels the matrices count.
        keep_detail: paste the change; False replaces the pixels, and with them what is finer than the network's.
    """
    result: np.ndarray = background.copy()
    enlarge = resize_matrix(background.shape[1] / size[0], background.shape[0] / size[1])
    for change in changes:
        _paste(result, background, change, compose(enlarge, invert(change.matrix)), keep_detail)
    return result


def _paste(
    result: np.ndarray, background: np.ndarray, change: FaceChange, to_result: np.ndarray, keep_detail: bool
) -> None:
    region = pasted_region(to_result, change.mask.shape[0], background.shape)
    if region is None:
        return
    rows, columns = region
    old = background[rows, columns].astype(np.float32)
    limit = np.iinfo(background.dtype).max
    shift = np.array([[1.0, 0, -columns.start], [0, 1.0, -rows.start]])
    matrix, size = compose(shift, to_result), (old.shape[1], old.shape[0])
    mask = warp(change.mask, matrix, size, cv2.BORDER_CONSTANT, cv2.INTER_LINEAR)[:, :, None] * change.strength
    if keep_detail:
        new = old + limit * warp(change.after - change.before, matrix, size, cv2.BORDER_REPLICATE)
    else:
        new = limit * warp(change.after, matrix, size, cv2.BORDER_REPLICATE)
    current = result[rows, columns]
    blended = current + mask * (new - current)
    result[rows, columns] = np.clip(np.rint(blended), 0, limit).astype(background.dtype)


def pasted_region(to_result: np.ndarray, size: int, shape: tuple[int, ...]) -> tuple[slice, slice] | None:
    """Return the rows and columns of the result that the crop covers, or None."""
    corners = np.array([[-0.5, -0.5], [size - 0.5, -0.5], [-0.5, size - 0.5], [size - 0.5, size - 0.5]])
    corners = apply(to_result, corners)
    limit = np.array([shape[1], shape[0]])
    low = np.clip(np.floor(corners.min(0)), 0, limit).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, 0, limit).astype(int)
    if (high <= low).any():
        return None
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))
