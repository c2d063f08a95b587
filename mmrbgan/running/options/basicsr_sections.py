"""BasicSR's own sections for which option files ship (SRModel on pairs), and its metrics, described as ours are."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mmrbgan_arch.support.ranges import Count, CountOrNone, Decay, FolderName, Range, Share, Weight, check_rising
from mmrbgan_data.datasets.dataset_options import Backend

Epsilon = Annotated[float, Range(0, 1, above=True)]


@dataclass(frozen=True)
class PairedImageOptions:
    """A section under ``datasets`` of type PairedImageDataset: pictures that have a partner of the same name."""

    dataroot_gt: str
    """Folder or ``*.lmdb`` of good images."""
    dataroot_lq: str
    """Folder or ``*.lmdb`` of degraded images."""
    io_backend: Backend
    """How the images are kept."""
    type: Literal['PairedImageDataset'] = 'PairedImageDataset'
    name: FolderName = ''
    """Of the data, in logs and folders; the section's own name if it has none."""
    meta_info_file: str | None = None
    """List of the names, one a line; None: all in the folder."""
    filename_tmpl: str = '{}'
    """How the partner's name follows from the image's, such as {}x4."""
    gt_size: Count | None = None
    """Side in pixels of the random crops of training, which needs it."""
    use_hflip: bool = True
    """Mirror half of the samples."""
    use_rot: bool = True
    """Turn samples by 90 degrees at random."""
    mean: tuple[Share, Share, Share] | None = None
    """Subtracted from every channel."""
    std: tuple[Epsilon, Epsilon, Epsilon] | None = None
    """Every channel is divided by it."""
    phase: Literal['train', 'val', 'test'] = 'train'
    """Set by BasicSR."""
    scale: Count = 1
    """Set by BasicSR."""
    use_shuffle: bool = True
    """The training order is always random, others are sorted."""
    num_worker_per_gpu: Annotated[int, Range(0, 128)] = 0
    """Processes that read images, for each process that trains."""
    batch_size_per_gpu: Annotated[int, Range(1, 4096)] = 1
    """Images of one step, for each process that trains."""
    dataset_enlarge_ratio: Annotated[float, Range(1, 1000)] = 1
    """How many times an epoch goes through the images."""
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    """Batches are always read ahead, on a GPU copied ahead, too."""
    num_prefetch_queue: Annotated[int, Range(1, 1024)] = 1
    """Batches that each worker reads ahead (2 at least)."""
    pin_memory: bool = True
    """Page-locked memory for the copy to a GPU."""
    persistent_workers: bool = False
    """Keep the workers from epoch to epoch."""

    def __post_init__(self) -> None:
        """Refuse what BasicSR finds out in a worker."""
        for key in ('dataroot_gt', 'dataroot_lq'):
            if (self.io_backend.type == 'lmdb') != getattr(self, key).endswith('.lmdb'):
                raise ValueError(f'io_backend: {{type: lmdb}} and a {key} that ends in .lmdb belong together')
        if self.filename_tmpl.count('{}') != 1:
            raise ValueError(f'filename_tmpl: {self.filename_tmpl!r} must hold {{}} once, for the name')


@dataclass(frozen=True)
class BasicOptimizer:
    """``optim_g`` of BasicSR 1.4.2."""

    lr: Annotated[float, Range(0, 0.1, above=True)]
    """The base rate."""
    type: Literal['Adam'] = 'Adam'
    weight_decay: Share = 0.0
    """Adam's."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Adam's decays of the gradient and of its square."""
    eps: Annotated[float, Range(0, 1e-2, above=True)] = 1e-8
    """Adam's."""
    amsgrad: bool = False
    """Adam's."""


@dataclass(frozen=True)
class BasicSchedule:
    """``scheduler`` of BasicSR; the keys of one type are of no use to the other."""

    type: Literal['MultiStepLR', 'MultiStepRestartLR', 'CosineAnnealingRestartLR']
    """How the rates fall."""
    milestones: tuple[Count, ...] | None = None
    """MultiStep: after each of these iterations the rates are multiplied by gamma."""
    gamma: Annotated[float, Range(0, 1, above=True)] | None = None
    """MultiStep: the factor, 0.1 by default."""
    restarts: tuple[CountOrNone, ...] | None = None
    """MultiStep: iterations at which the rates start again."""
    restart_weights: tuple[Weight, ...] | None = None
    """Factor at each restart."""
    periods: tuple[Count, ...] | None = None
    """CosineAnnealing: lengths of the cosines."""
    eta_min: Share | None = None
    """CosineAnnealing: the least rate."""

    def __post_init__(self) -> None:
        """Refuse keys of the other type."""
        of_steps, of_cosines = ('milestones', 'gamma', 'restarts'), ('periods', 'eta_min')
        steps = self.type.startswith('MultiStep')
        for key in of_cosines if steps else of_steps:
            if getattr(self, key) is not None:
                raise ValueError(f'{key}: {self.type} has no such key')
        if (self.milestones if steps else self.periods) is None:
            raise ValueError(f'{"milestones" if steps else "periods"}: missing, and it has no default')
        check_rising(self.milestones or (), 'milestones')
        check_rising(self.restarts or (), 'restarts')
        starts = self.restarts or (0,) if steps else self.periods or ()
        if len(self.restart_weights or (1,) * len(starts)) != len(starts):
            raise ValueError('restart_weights: as many as there are ' + ('restarts' if steps else 'periods'))


@dataclass(frozen=True)
class PixelLoss:
    """``pixel_opt``."""

    type: Literal['L1Loss', 'MSELoss', 'CharbonnierLoss']
    loss_weight: Annotated[float, Range(0, 1e4, above=True)] = 1.0
    """Factor in the sum."""
    reduction: Literal['mean', 'sum'] = 'mean'
    """Over the pixels."""
    eps: Epsilon | None = None
    """Of CharbonnierLoss."""

    def __post_init__(self) -> None:
        """Refuse a key of another loss."""
        if self.eps is not None and self.type != 'CharbonnierLoss':
            raise ValueError(f'eps: {self.type} has no such key')


@dataclass(frozen=True)
class SRTrainOptions:
    """``train`` of SRModel."""

    total_iter: Count
    """Iterations to run."""
    optim_g: BasicOptimizer
    """Of network_g."""
    scheduler: BasicSchedule
    """How the rate falls."""
    warmup_iter: Annotated[int, Range(-1, 10**9)] = -1
    """Iterations over which the rate rises linearly to its base value; -1: none."""
    ema_decay: Decay = 0.0
    """Decay of the moving average per iteration; 0: no average."""
    pixel_opt: PixelLoss | None = None
    """Loss of the pixels."""
    perceptual_opt: Any = None
    """BasicSR's PerceptualLoss."""

    def __post_init__(self) -> None:
        """Refuse a run that would learn nothing."""
        if self.pixel_opt is None and self.perceptual_opt is None:
            raise ValueError('no loss is on; give at least pixel_opt: {type: L1Loss}')
        periods = self.scheduler.periods
        if periods is not None and sum(periods) < self.total_iter:
            raise ValueError(f'scheduler: periods end at iteration {sum(periods)}, before total_iter {self.total_iter}')


TRAIN: dict[str, type] = {'SRModel': SRTrainOptions}
"""Model of BasicSR -> its section ``train``; those of other models are BasicSR's to check."""
DATASETS: dict[str, type] = {'PairedImageDataset': PairedImageOptions}
"""Dataset of BasicSR -> its section."""
