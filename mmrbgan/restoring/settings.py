"""What the restorer does to each photograph; every field is a flag of `mmrbgan restore`."""

import dataclasses
from typing import Literal

from mmrbgan_arch.support.errors import UsageError

from .face_choice import FaceFile


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is done to each photograph."""

    faces: str | FaceFile = 'all'
    """all (that are certain), all-uncertain, largest, center, or those of a report (``face_choice.read_face_file``)."""
    min_face: float = 20.0
    """Least side in pixels of a face's box; smaller ones are left alone."""
    strength: float = 1.0
    """0 leaves the photograph as it is, 1 pastes what the network gave."""
    scale: float = 1.0
    """Enlargement of the photograph."""
    aligned: bool = False
    """The photograph is one aligned face already."""
    color: Literal['keep', 'free'] = 'keep'
    """keep: slow changes of colour and light are the input's, and so is the tone of grey and toned photographs."""
    detail: Literal['keep', 'replace'] = 'keep'
    """keep: what is finer than the network's pixels stays in faces larger than the network."""
    measure_identity: bool = False
    """Score every face against its input."""
    min_identity: float | None = None
    """Lower the strength per face until the score is this."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0 <= self.strength <= 1:
            raise UsageError(f'--strength {self.strength:g}: must lie between 0 and 1')
        if not 0.1 <= self.scale <= 16:
            raise UsageError(f'--scale {self.scale:g}: must lie between 0.1 and 16')
        if not self.min_face >= 0:
            raise UsageError(f'--min-face {self.min_face:g}: must be 0 or more')
        if self.min_identity is not None and not -1 <= self.min_identity <= 1:
            raise UsageError(f'--min-identity {self.min_identity:g}: must lie between -1 and 1, the score of the input')
        if self.color not in ('keep', 'free'):
            raise UsageError(f'--color {self.color}: known are keep and free')
        if self.detail not in ('keep', 'replace'):
            raise UsageError(f'--detail {self.detail}: known are keep and replace')
