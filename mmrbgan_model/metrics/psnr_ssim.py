"""PSNR and SSIM by scikit-image, BasicSR's conventions: RGB uint8, no border cut, SSIM per channel, 11x11 Gaussian.

BasicSR's registry holds its own ``calculate_psnr`` and ``calculate_ssim``; the values are the same (a test says so).
"""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from .tensors import same_shape


def psnr(restored: np.ndarray, gt: np.ndarray | None) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> dB (b,); equal pictures give infinity."""
    gt = same_shape(restored, gt)
    with np.errstate(divide='ignore'):
        return np.array([peak_signal_noise_ratio(b, a, data_range=255) for a, b in zip(restored, gt, strict=True)])


def ssim(restored: np.ndarray, gt: np.ndarray | None) -> np.ndarray:
    """RGB uint8 (b, h, w, 3) twice -> SSIM (b,) in [-1, 1]."""
    gt = same_shape(restored, gt)
    return np.array([_ssim(a, b) for a, b in zip(restored, gt, strict=True)])


def _ssim(restored: np.ndarray, gt: np.ndarray) -> float:
    result: float = structural_similarity(
        restored.astype(np.float64),
        gt.astype(np.float64),
        data_range=255,
        channel_axis=2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return result
