"""Test and validation images: lq alone, lq with gt, or gt degraded the same way in every run."""

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mmrbgan_arch.basicsr_bridge import register_dataset
from mmrbgan_arch.support.errors import UsageError
from mmrbgan_arch.support.option_reader import read_options
from mmrbgan_arch.support.ranges import Count

from ..degradation import reduce_and_enlarge
from ..images import ImageSource, UnreadableImageError, probe_image
from .dataset_options import DatasetOptions, resolve_root
from .samples import BadImages, degrade_randomly, keep_to_one_thread, pair_by_stem, read_square, to_tensor


@dataclasses.dataclass(frozen=True)
class TestDatasetOptions(DatasetOptions):
    """Keys of ``datasets.val`` and ``datasets.test...``; one of ``dataroot_lq`` and ``dataroot_gt`` is needed."""

    __test__ = False  # no test for pytest, in spite of its name

    max_images: Count | None = None
    """Take the first so many (sorted by name); null: all."""
    super_resolution: Count = 1
    """Factor by which inputs, degraded ones too, are reduced bicubically and enlarged again."""

    def __post_init__(self) -> None:
        """Raise ValueError for missing roots."""
        if self.super_resolution > self.image_size:
            raise ValueError(f'super_resolution: {self.super_resolution} is not a factor from 1 to image_size')
        if self.dataroot_gt is None and self.dataroot_lq is None:
            raise ValueError('dataroot_lq, dataroot_gt: both are missing; name a folder of degraded or of good faces')


@register_dataset
class MMRBGANTestDataset(Dataset[Any]):
    """Images sorted by name; each degraded with a seed of its own that follows from ``seed`` and its file name.

    A sample is a dict: ``lq`` and, where known, ``gt`` float32 (3, s, s) RGB in [-1, 1]; ``lq_path``, ``gt_path``.
    Unreadable images are found, reported and left out when the dataset is made, so that none is scored twice.

    Args:
        opt: a section under ``datasets`` of the yml; read once, never changed.

    Raises:
        UsageError: a wrong key or value, a folder that is missing or without a readable image, an lq without its gt.
    """

    options_class = TestDatasetOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        keep_to_one_thread()
        self.opt = opt
        where = f'datasets.{opt.get("phase", "test")}'
        options = self.options = read_options(TestDatasetOptions, opt, where)
        roots = {'lq': options.dataroot_lq, 'gt': options.dataroot_gt}
        self.sources = {
            kind: ImageSource(resolve_root(root), f'{where}.dataroot_{kind}') for kind, root in roots.items() if root
        }
        self._items = self._readable_items(where)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return sample ``index``.

        Raises:
            UsageError: the image was sound when the dataset was made and is not any more.
        """
        keep_to_one_thread()
        images, sample = {}, {}
        for kind, place in self._items[index].items():
            try:
                images[kind], _ = read_square(self.sources[kind], place, self.options.image_size)
            except UnreadableImageError as error:
                raise UsageError(f'{error}; mend or remove it') from error
            sample[f'{kind}_path'] = self.sources[kind].path(place)
        if 'lq' not in images:
            name = self.sources['gt'].names[self._items[index]['gt']]
            images['lq'] = degrade_randomly(images['gt'], self.options.degradation, _rng_of(self.options.seed, name))
            sample['lq_path'] = sample['gt_path']
        images['lq'] = reduce_and_enlarge(images['lq'], self.options.super_resolution)
        return {**{kind: to_tensor(image) for kind, image in images.items()}, **sample}

    def _readable_items(self, where: str) -> list[dict[str, int]]:
        """Return kind -> index for each sample, the first ``max_images`` readable ones."""
        all_items = self._all_items(where)
        bad = BadImages(self.options.max_bad_images, len(all_items))
        items: list[dict[str, int]] = []
        for number, item in enumerate(all_items):
            if len(items) == self.options.max_images:
                break
            try:
                for kind, index in item.items():
                    _check(self.sources[kind], index)
                items.append(item)
            except UnreadableImageError as error:
                bad.report(number, error)
        if not items:
            raise UsageError(f'{where}: no readable square image in {next(iter(self.sources.values())).root}')
        return items

    def _all_items(self, where: str) -> list[dict[str, int]]:
        first, *rest = self.sources
        items = [{first: index} for index in range(len(self.sources[first]))]
        for kind in rest:
            partners = pair_by_stem(self.sources[first], self.sources[kind])
            for item, partner in zip(items, partners, strict=True):
                if partner is None:
                    raise UsageError(
                        f'{where}.dataroot_{kind}: no partner of the same stem for '
                        f'{self.sources[first].path(item[first])!r}; add it, or leave dataroot_{kind} out'
                    )
                item[kind] = partner
        return items


def _check(source: ImageSource, index: int) -> None:
    """Raise UnreadableImageError for an image that is damaged or not square."""
    width, height = probe_image(source.read_bytes(index), source.path(index))
    if width != height:
        raise UnreadableImageError(
            f'{source.path(index)}: {width}x{height} is not square; align the faces with `mmrbgan prepare`'
        )


def _rng_of(seed: int, name: str) -> np.random.Generator:
    """Return the generator that belongs to this file, on every machine."""
    digest = hashlib.sha256(f'{seed}/{name}'.encode('utf-8', 'surrogateescape')).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], 'big'))
