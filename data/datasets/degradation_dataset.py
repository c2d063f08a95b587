"""Training pairs: good faces, degraded on the fly (Eq. 17) or paired with real low quality, with component boxes."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from mmrbgan_arch.basicsr_bridge import register_dataset
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_arch.support.ranges import Share

from ..components import COMPONENTS, ComponentTable, find_component_file, flip_boxes, read_components
from ..images import ImageSource, UnreadableImageError
from .balance import Balance, by_group, by_pose
from .dataset_options import DatasetOptions, resolve_root
from .samples import BadImages, degrade_randomly, keep_to_one_thread, pair_by_stem, read_square, to_tensor


@dataclasses.dataclass(frozen=True)
class DegradationDatasetOptions(DatasetOptions):
    """Keys of ``datasets.train``; ``dataroot_gt`` is needed."""

    component_path: str | None = None
    """components.json or landmarks.csv; default: the one lying in ``dataroot_gt``, if any."""
    use_hflip: bool = True
    """Mirror half of the samples."""
    paired_ratio: Share = 1.0
    """With ``dataroot_lq``, the share of samples that take a real pair; the rest is degraded."""
    pose_balance: Share = 0.0
    """The share of samples whose range of yaw is drawn first, each range as likely, then the file."""
    group_balance: Share = 0.0
    """The share of samples whose group of people is drawn first, each group as likely, then the file."""
    group_pattern: str | None = None
    """Regular expression whose first group names a file's group, such as '^me_([a-z]+)_'."""

    def __post_init__(self) -> None:
        """Raise ValueError for a missing root or shares that are too much."""
        if self.dataroot_gt is None:
            raise ValueError('dataroot_gt: missing; name a folder or an LMDB of faces, or quick-faces/train')
        if self.pose_balance + self.group_balance > 1:
            raise ValueError('pose_balance and group_balance: together they are more than 1')
        self._check_pattern()

    def _check_pattern(self) -> None:
        if bool(self.group_balance) != (self.group_pattern is not None):
            raise ValueError('group_balance and group_pattern: each needs the other')
        try:
            groups = re.compile(self.group_pattern or '()').groups
        except re.error as error:
            raise ValueError(f'group_pattern: {error}') from error
        if groups < 1:
            raise ValueError(f'group_pattern: {self.group_pattern!r} has no group in parentheses')


@register_dataset
class MMRBGANDegradationDataset(Dataset[Any]):
    """Samples are a function of (seed, epoch, position) alone, whatever the number of workers or processes.

    A sample is a dict: ``lq`` and ``gt`` float32 (3, s, s) RGB in [-1, 1]; ``component_boxes`` float32 (k, 4) x1 y1 x2
    y2 in pixels of gt, in the order of COMPONENTS, zeros where absent; ``component_mask`` bool (k,); ``lq_path``,
    ``gt_path``.

    Args:
        opt: the section ``datasets.train`` of the yml; read once, never changed.

    Raises:
        UsageError: a wrong key or value, or a folder that is missing or holds no image.
    """

    takes_sample_keys = True  # see ResumableSampler
    options_class = DegradationDatasetOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        keep_to_one_thread()
        self.opt = opt
        where = f'datasets.{opt.get("phase", "train")}'
        options = self.options = read_options(DegradationDatasetOptions, opt, where)
        self.gt = ImageSource(resolve_root(str(options.dataroot_gt)), f'{where}.dataroot_gt')
        self.components = self._read_components()
        self._balance = self._read_balance(where)
        self.lq, self._partners = None, np.empty(0, int)
        if options.dataroot_lq is not None:
            self.lq = ImageSource(resolve_root(options.dataroot_lq), f'{where}.dataroot_lq')
            self._partners = _partners(self.gt, self.lq, options.paired_ratio, where)
        self._bad = BadImages(options.max_bad_images, len(self.gt) + (len(self.lq) if self.lq else 0))

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        """Return the sample of (epoch, position), or of a plain index in epoch 0.

        An unreadable image is reported and the next file takes its place.

        Raises:
            UsageError: too many images are unreadable, or a component lies outside its image.
        """
        keep_to_one_thread()
        epoch, position = key if isinstance(key, tuple) else (0, key)
        first = self._first_choice(epoch, position)
        for index in range(first, first + len(self)):
            try:
                return self._sample(index % len(self), np.random.default_rng([self.options.seed, epoch, position]))
            except UnreadableImageError:
                continue
        raise UsageError(f'{self.gt.root}: none of its {len(self)} images can be read')

    def _first_choice(self, epoch: int, position: int) -> int:
        """Return the file of a position, or one drawn by pose or group, by randomness of its own."""
        if not self._balance.lots:
            return position
        return self._balance.choose(position, np.random.default_rng([self.options.seed, epoch, position, 1]))

    def _sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        takes_pair, flips = rng.random(2) < (self.options.paired_ratio, 0.5)
        takes_pair = self.lq is not None and takes_pair
        if takes_pair and self._partners[index] < 0:
            index = int(rng.choice(np.flatnonzero(self._partners >= 0)))
        gt, boxes, mask = self._load(index, bool(flips and self.options.use_hflip))
        if takes_pair:
            lq, lq_path = self._load_partner(int(self._partners[index]), bool(flips and self.options.use_hflip))
        else:
            lq, lq_path = degrade_randomly(gt, self.options.degradation, rng), self.gt.path(index)
        return {
            'lq': to_tensor(lq),
            'gt': to_tensor(gt),
            'component_boxes': torch.from_numpy(boxes),
            'component_mask': torch.from_numpy(mask),
            'lq_path': lq_path,
            'gt_path': self.gt.path(index),
        }

    def _load(self, index: int, flip: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return gt uint8 (s, s, 3), boxes (k, 4) and mask (k,), all scaled and, if asked, mirrored."""
        image, side = self._read(self.gt, index)
        boxes, mask = _no_components()
        if self.components is not None:
            boxes, mask = self.components.boxes(self.gt.names[index], side, side)
        boxes = boxes * np.float32(self.options.image_size / side)
        if not flip:
            return image, boxes, mask
        return cv2.flip(image, 1), *flip_boxes(boxes, mask, self.options.image_size)

    def _load_partner(self, index: int, flip: bool) -> tuple[np.ndarray, str]:
        assert self.lq is not None
        image, _ = self._read(self.lq, index)
        return cv2.flip(image, 1) if flip else image, self.lq.path(index)

    def _read(self, source: ImageSource, index: int) -> tuple[np.ndarray, int]:
        """Return an image (s, s, 3) and its side before; one that is unreadable is reported on the way."""
        try:
            return read_square(source, index, self.options.image_size)
        except UnreadableImageError as error:
            self._bad.report(index + (len(self.gt) if source is self.lq else 0), error)
            raise

    def _read_balance(self, where: str) -> Balance:
        options, names, lots = self.options, self.gt.names, []
        if options.pose_balance:
            lots.append(by_pose(options.pose_balance, names, self.gt.root, where))
        if options.group_pattern is not None:
            lots.append(by_group(options.group_balance, names, options.group_pattern, where))
        return Balance(tuple(lots))

    def _read_components(self) -> ComponentTable | None:
        """Read the boxes' file, named or found beside the images; none: training goes on without components."""
        named = self.options.component_path
        path = Path(named).expanduser() if named else find_component_file(self.gt.root)
        if path is None:
            return None
        return read_components(path, None if path.suffix == '.json' else self._stored_size())

    def _stored_size(self) -> int:
        """Side of the first readable image: what a landmarks.csv beside the images refers to."""
        for index in range(len(self.gt)):
            try:
                result: int = max(self.gt.read(index).shape[:2])
                return result
            except UnreadableImageError:
                continue
        return self.options.image_size


def _no_components() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((len(COMPONENTS), 4), np.float32), np.zeros(len(COMPONENTS), bool)


def _partners(gt: ImageSource, lq: ImageSource, ratio: float, where: str) -> np.ndarray:
    """Return the index in ``lq`` of each gt's partner, -1 for none."""
    pairs = pair_by_stem(gt, lq)
    missing = [name for name, partner in zip(gt.names, pairs, strict=True) if partner is None]
    if len(missing) == len(pairs) or (missing and ratio == 1):
        raise UsageError(
            f'{where}.dataroot_lq: {len(missing)} of {len(pairs)} gt images have no partner of the same stem in '
            f'{str(lq.root)!r}, first {missing[0]!r}; add them, or set paired_ratio below 1 for a mix'
        )
    return np.array([-1 if partner is None else partner for partner in pairs])
