"""The sections of an option file that every run has; ``train``, ``datasets`` and networks are described where they are.

Field, annotation, default and the text below it are all that the checks, docs/options.md and the JSON schema have.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from mmrbgan_arch.support.ranges import Count, CountOrNone, FolderName, Pattern, Range, Seed

Suffix = Annotated[str, Pattern(r'[\w.+ -]+', 'cannot be part of a file name; use letters, digits, "_", "-" and "."')]
Project = Annotated[str, Pattern(r'.*\S.*', 'is not the name of a project')]


@dataclass(frozen=True)
class WandbOptions:
    """``logger.wandb``; needs `pip install 'mmrbgan[wandb]'` and use_tb_logger."""

    project: Project | None = None
    """The project's name; None: off."""
    resume_id: str | None = None
    """The id of the run of Weights & Biases that goes on."""


@dataclass(frozen=True)
class LoggerOptions:
    """The section ``logger``."""

    print_freq: Count = 100
    """Iterations between two lines of the log."""
    save_checkpoint_freq: Count = 5000
    """Iterations between two checkpoints."""
    use_tb_logger: bool = True
    """Write TensorBoard files under tb_logger/."""
    wandb: WandbOptions | None = None
    """Send what TensorBoard gets to Weights & Biases."""

    def __post_init__(self) -> None:
        """Refuse Weights & Biases without what it follows."""
        if self.wandb is not None and self.wandb.project is not None and not self.use_tb_logger:
            raise ValueError('wandb follows TensorBoard: set use_tb_logger: true, or remove wandb')


@dataclass(frozen=True)
class ProcessOptions:
    """The section ``dist_params``."""

    backend: Literal['auto', 'nccl', 'gloo'] = 'auto'
    """auto: nccl where the run has GPUs, gloo elsewhere."""
    timeout: Annotated[float, Range(1, 1e6)] = 1800.0
    """Seconds that a rank waits for the others before the job ends with an error."""


@dataclass(frozen=True)
class ValOptions:
    """The section ``val``."""

    val_freq: Count | None = None
    """Iterations between two validations; None: with every checkpoint."""
    save_img: bool = False
    """Write every restored face."""
    suffix: Suffix | None = None
    """Of the names of a test's pictures; None: the run's name."""
    pbar: bool | None = None
    """Show a progress bar; None: on a terminal."""
    sheet_faces: CountOrNone = 8
    """Faces of the sheet (input, restored, ground truth)."""
    group_pattern: str | None = None
    """Regular expression whose part in parentheses names a face's group in its file's name: scores by group."""
    metrics: Mapping[str, Any] | None = None
    """Name in the log -> metric; see below. The first one of a validation set chooses the best checkpoint."""


@dataclass(frozen=True)
class RunOptions:
    """The keys at the top; beside them stand the networks, each under ``network_...``."""

    name: FolderName
    """Of the run's folder under experiments/ or results/."""
    model_type: str
    """MMRBGANModel, SRModel, or another registered model."""
    scale: Annotated[int, Range(1, 16)] | None = None
    """BasicSR's enlargement, 1 here."""
    num_gpu: Literal['auto'] | CountOrNone = 'auto'
    """auto, 0 (the CPU), 1, or with torchrun the number of GPUs of this machine."""
    manual_seed: Seed | None = None
    """Of the order of the data, the degradation and the start weights; None: drawn, and logged."""
    datasets: Mapping[str, Any] | None = None
    """train, val, val_2, ..., test, test_2, ...; see below."""
    path: Mapping[str, Any] | None = None
    """Files to start from; see below."""
    train: Mapping[str, Any] | None = None
    """How to train; see below."""
    val: Mapping[str, Any] | None = None
    """How to validate and test; see below."""
    logger: Mapping[str, Any] | None = None
    """What is logged and how often; see below."""
    dist_params: Mapping[str, Any] | None = None
    """How several processes talk; see below."""
    find_unused_parameters: bool | None = None
    """BasicSR's; MMRBGANModel averages gradients by hand and needs none."""


@dataclass(frozen=True)
class PathOptions:
    """The section ``path``; X is a network's name without ``network_``: g, d, d_left_eye, ..."""

    resume_state: str | None = None
    """A training state to go on from; `--auto_resume` finds the newest itself."""
    ignore_resume_networks: tuple[str, ...] | None = None
    """Networks (network_X) that a resume does not load; BasicSR's models only."""


PATH_KEYS: dict[str, tuple[Any, str]] = {
    'pretrain_network_': (str | None, 'Weights (.pth, .safetensors) that network X starts from.'),
    'param_key_': (str | None, "Entry of X's file: params_ema or params; None: the first of them that it has."),
    'strict_load_': (bool, "Whether every tensor of X's file must fit; default: true."),
}
"""Beginning of a key of ``path`` -> its type and meaning."""
