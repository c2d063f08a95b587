"""The degradation of the training data, Eq. 17: ``I_d = ((I * k) down_s + n)_JPEG(q)``, then back to the size of ``I``.

Every step is a pure function of the image and of its parameters; ``draw_degradation`` draws these from a generator and
they can be shown, stored and applied again. Images are RGB (h, w, 3): float32 in [0, 1] while they are blurred, scaled
and made noisy, uint8 before and after.
"""

import dataclasses
import math
from typing import Annotated, Literal

import cv2
import numpy as np
import scipy.fft
from PIL import Image

from mmrbgan_arch.support.ranges import Range

Kernel = Literal['isotropic', 'anisotropic', 'motion']
Resize = Literal['area', 'bilinear', 'bicubic', 'antialiased_bicubic']
Sigma = Annotated[float, Range(0.05, 100)]
Factor = Annotated[float, Range(0.1, 100)]
Length = Annotated[float, Range(0, 255)]
GreyLevels = Annotated[float, Range(0, 255)]
Quality = Annotated[int, Range(1, 100)]
LARGEST_DIRECT = 5  # reach of kernels that OpenCV convolves without a Fourier transform

_CV2_RESIZE = {'area': cv2.INTER_AREA, 'bilinear': cv2.INTER_LINEAR, 'bicubic': cv2.INTER_CUBIC}


@dataclasses.dataclass(frozen=True)
class DegradationOptions:
    """The ranges parameters are drawn from; a range of one value (``[4, 4]``) fixes it."""

    kernels: tuple[Kernel, ...] = ('isotropic', 'anisotropic', 'motion')
    """Kinds of blur, drawn with equal chances (repeat one to draw it more often); empty: no blur."""
    kernel_size: Annotated[int, Range(1, 255)] = 41
    """Side in pixels of the largest kernel, odd."""
    sigma: tuple[Sigma, Sigma] = (0.1, 10.0)
    """Of the Gaussian kernels in pixels, uniform (both axes if anisotropic)."""
    motion_length: tuple[Length, Length] = (3.0, 41.0)
    """Of the motion path in pixels, uniform."""
    downscale: tuple[Factor, Factor] = (0.4, 8.0)
    """Factor, uniform; below 1 enlarges."""
    resizes: tuple[Resize, ...] = ('area', 'bilinear', 'bicubic')
    """How to scale, drawn with equal chances; ``antialiased_bicubic`` is MATLAB's and Pillow's."""
    noise: tuple[GreyLevels, GreyLevels] = (0.0, 25.0)
    """Standard deviation of the Gaussian noise in grey levels of 255, uniform."""
    jpeg: tuple[Quality, Quality] | None = (5, 50)
    """Quality, uniform over whole numbers; null: no compression."""

    def __post_init__(self) -> None:
        """Raise ValueError for an invalid range."""
        for name in ('sigma', 'motion_length', 'downscale', 'noise', 'jpeg'):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise ValueError(f'{name}: {list(limits)} is not [low, high] with low <= high')
        if self.kernel_size % 2 == 0:
            raise ValueError(f'kernel_size: {self.kernel_size} is not odd')
        if not self.resizes:
            raise ValueError('resizes: needs at least one of area, bilinear, bicubic, antialiased_bicubic')


@dataclasses.dataclass(frozen=True)
class Degradation:
    """What was done to one image: every parameter of Eq. 17.

    Attributes:
        kernel: kind of blur, None for none.
        sigma_x: pixels, along the rotated x axis.
        sigma_y: pixels, across it.
        angle: radians, of a Gaussian's axis or of the motion at the middle of its path.
        length: of the motion path, in pixels.
        bend: the angle by which the motion turns along its path, in radians.
        downscale: factor.
        resize: how.
        noise: standard deviation in grey levels of 255.
        noise_seed: of the noise pattern.
        quality: of JPEG, None for none.
    """

    kernel: Kernel | None
    sigma_x: float
    sigma_y: float
    angle: float
    length: float
    bend: float
    downscale: float
    resize: Resize
    noise: float
    noise_seed: int
    quality: int | None

    def __str__(self) -> str:
        blur = {
            None: 'no blur',
            'isotropic': f'gauss {self.sigma_x:.1f}',
            'anisotropic': f'gauss {self.sigma_x:.1f}x{self.sigma_y:.1f} at {math.degrees(self.angle):.0f}',
            'motion': f'motion {self.length:.0f} at {math.degrees(self.angle):.0f} bend {math.degrees(self.bend):.0f}',
        }[self.kernel]
        quality = 'no jpeg' if self.quality is None else f'jpeg {self.quality}'
        return f'{blur} | 1/{self.downscale:.1f} {self.resize} | noise {self.noise:.0f} | {quality}'


def draw_degradation(options: DegradationOptions, rng: np.random.Generator) -> Degradation:
    """Draw one set of parameters; the number of draws is always the same, so that options do not shift each other."""
    kind, sigma_x, sigma_y, angle, length, bend, downscale, resize, noise, quality = rng.random(10)
    kernel = options.kernels[int(kind * len(options.kernels))] if options.kernels else None
    sigma = _between(options.sigma, sigma_x)
    return Degradation(
        kernel=kernel,
        sigma_x=sigma,
        sigma_y=_between(options.sigma, sigma_y) if kernel == 'anisotropic' else sigma,
        angle=_between((0, math.pi), angle),
        length=_between(options.motion_length, length),
        bend=_between((-math.pi / 2, math.pi / 2), bend),
        downscale=_between(options.downscale, downscale),
        resize=options.resizes[int(resize * len(options.resizes))],
        noise=_between(options.noise, noise),
        noise_seed=int(rng.integers(2**31)),
        quality=options.jpeg and int(options.jpeg[0] + quality * (options.jpeg[1] - options.jpeg[0] + 1)),
    )


def degrade(image: np.ndarray, degradation: Degradation, kernel_size: int = 41) -> np.ndarray:
    """Return the degraded image: RGB uint8 (h, w, 3), as ``image`` is, for both would be files of 8 bits."""
    height, width = image.shape[:2]
    small = round(width / degradation.downscale), round(height / degradation.downscale)
    blurred = blur(to_float(image), degradation, kernel_size)
    noisy = add_noise(resize(blurred, *small, degradation.resize), degradation.noise, degradation.noise_seed)
    return resize(compress(to_uint8(noisy), degradation.quality), width, height, 'bilinear')


def reduce_and_enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Return RGB uint8 (h, w, 3) reduced by ``factor`` (bicubic, antialiased) to 8 bits, then enlarged to its size."""
    if factor == 1:
        return image
    height, width = image.shape[:2]
    how: Resize = 'antialiased_bicubic'
    small = to_uint8(resize(to_float(image), round(width / factor), round(height / factor), how))
    return to_uint8(resize(to_float(small), width, height, how))


def blur(image: np.ndarray, degradation: Degradation, kernel_size: int = 41) -> np.ndarray:
    """``I * k``: convolve (h, w, 3) with the kernel that ``degradation`` names, the border mirrored."""
    border = cv2.BORDER_REFLECT_101
    if degradation.kernel == 'isotropic':  # separable: a fifth of the time
        row = gaussian_row(degradation.sigma_x, kernel_size)
        return cv2.sepFilter2D(image, -1, row, row, borderType=border)
    if degradation.kernel == 'anisotropic':
        kernel = gaussian_kernel(degradation.sigma_x, degradation.sigma_y, degradation.angle, kernel_size)
    elif degradation.kernel == 'motion':
        kernel = motion_kernel(degradation.length, degradation.angle, degradation.bend, kernel_size)
    else:
        return image
    return convolve(image, kernel)


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return (h, w, 3) convolved with (n, n), n odd, the border mirrored.

    Large kernels go through the Fourier transform, in two thirds of OpenCV's time; SciPy's gives the same bits whatever
    the number of threads.
    """
    reach = kernel.shape[0] // 2
    if reach <= LARGEST_DIRECT:
        return cv2.filter2D(image, -1, kernel[::-1, ::-1], borderType=cv2.BORDER_REFLECT_101)
    wide = cv2.copyMakeBorder(image, reach, reach, reach, reach, cv2.BORDER_REFLECT_101)
    height, width = wide.shape[:2]
    shape = (scipy.fft.next_fast_len(height, True), scipy.fft.next_fast_len(width, True))
    response = scipy.fft.rfft2(kernel, shape)
    blurred = []
    for channel in cv2.split(wide):
        spectrum = scipy.fft.rfft2(channel, shape)
        spectrum *= response
        whole = scipy.fft.irfft2(spectrum, shape, overwrite_x=True)
        blurred.append(np.ascontiguousarray(whole[2 * reach : height, 2 * reach : width]))
    return cv2.merge(blurred)


def resize(image: np.ndarray, width: int, height: int, how: Resize) -> np.ndarray:
    """``down_s``: scale (h, w, 3) to (height, width, 3), at least 1 px, clipped to [0, 1] where bicubic overshoots."""
    width, height = max(width, 1), max(height, 1)
    if image.shape[:2] == (height, width):
        return image
    if how == 'antialiased_bicubic':
        channels = [
            Image.fromarray(channel).resize((width, height), Image.Resampling.BICUBIC)
            for channel in np.moveaxis(image, 2, 0)
        ]
        result: np.ndarray = np.clip(np.stack([np.asarray(channel) for channel in channels], 2), 0, 1)
        return result
    resized = cv2.resize(image, (width, height), interpolation=_CV2_RESIZE[how])
    return np.clip(resized, 0, 1, out=resized) if how == 'bicubic' else resized


def add_noise(image: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """``+ n``: add Gaussian noise of ``sigma`` grey levels (of 255), drawn from ``seed``, and clip to [0, 1]."""
    if sigma == 0:
        return image
    noise = np.empty((image.shape[0], image.shape[1] * 3), np.float32)
    cv2.setRNGSeed(seed)
    cv2.randn(noise, np.zeros(1), np.full(1, sigma / 255))  # a third of NumPy's time
    noise = noise.reshape(image.shape)
    noise += image
    return np.clip(noise, 0, 1, out=noise)


def compress(image: np.ndarray, quality: int | None) -> np.ndarray:
    """``_JPEG(q)``: uint8 (h, w, 3) through JPEG of ``quality`` and back; None leaves the image as it is."""
    if quality is None:
        return image
    # OpenCV takes BGR and refuses a quality that is not a plain int.
    _, content = cv2.imencode('.jpg', cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def gaussian_row(sigma: float, size: int) -> np.ndarray:
    """Return (n, 1) float32 Gaussian weights, cut at ``size`` and at three sigmas."""
    reach = min(size // 2, math.ceil(3 * sigma))
    return cv2.getGaussianKernel(2 * reach + 1, sigma, cv2.CV_32F)


def gaussian_kernel(sigma_x: float, sigma_y: float, angle: float, size: int) -> np.ndarray:
    """Return a rotated Gaussian (n, n), n odd and at most ``size``, float32 of sum 1."""
    reach = min(size // 2, math.ceil(3 * max(sigma_x, sigma_y)))
    steps = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = steps[None, :], steps[:, None]
    along, across = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    kernel = np.exp(-0.5 * ((along / np.float32(sigma_x)) ** 2 + (across / np.float32(sigma_y)) ** 2))
    result: np.ndarray = kernel / kernel.sum()
    return result


def motion_kernel(length: float, angle: float, bend: float, size: int) -> np.ndarray:
    """Return the path of a moving camera as a kernel (n, n), n odd and at most ``size``, float32 of sum 1.

    The path is an arc of ``length`` pixels, at ``angle`` in its middle, that turns by ``bend`` from end to end.
    """
    steps = np.linspace(-0.5, 0.5, 8 * math.ceil(length) + 1)
    direction = angle + bend * steps
    path = np.stack([np.cos(direction), np.sin(direction)], 1).cumsum(0) * (length / len(steps))
    path -= (path.max(0) + path.min(0)) / 2
    reach = min(size // 2, math.ceil(float(np.abs(path).max())))
    return _splat(np.clip(path + reach, 0, 2 * reach), 2 * reach + 1)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return float [0, 1] as uint8 [0, 255], rounded."""
    return cv2.convertScaleAbs(image, alpha=255)


def to_float(image: np.ndarray) -> np.ndarray:
    """Return uint8 [0, 255] as float32 [0, 1]."""
    result: np.ndarray = image * np.float32(1 / 255)
    return result


def _between(limits: tuple[float, float], share: float) -> float:
    return float(limits[0] + (limits[1] - limits[0]) * share)


def _splat(points: np.ndarray, size: int) -> np.ndarray:
    """Return a (size, size) histogram of (n, 2) points, each spread over its four pixels, float32 of sum 1."""
    kernel = np.zeros((size + 1, size + 1))
    corner = np.floor(points).astype(int)
    x, y = (points - corner).T
    for right, down, weight in ((0, 0, (1 - x) * (1 - y)), (1, 0, x * (1 - y)), (0, 1, (1 - x) * y), (1, 1, x * y)):
        np.add.at(kernel, (corner[:, 1] + down, corner[:, 0] + right), weight)
    kernel = kernel[:size, :size]
    result: np.ndarray = (kernel / kernel.sum()).astype(np.float32)
    return result
