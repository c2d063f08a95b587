"""The columns of every table: heading, which way is better, digits."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: heading, direction, and digits after the point."""

    label: str
    better: Literal['higher', 'lower']
    digits: int

    @property
    def heading(self) -> str:
        """The label with an arrow the way that is better."""
        return f'{self.label} {"↑" if self.better == "higher" else "↓"}'


COLUMNS: dict[str, Column] = {
    'psnr': Column('PSNR', 'higher', 3),
    'ssim': Column('SSIM', 'higher', 4),
    'lpips_alex': Column('LPIPS (Alex)', 'lower', 4),
    'lpips_vgg': Column('LPIPS (VGG)', 'lower', 4),
    'niqe': Column('NIQE', 'lower', 3),
    'ifqa': Column('IFQA', 'higher', 4),
    'identity_dlib_angle': Column('Angle (dlib)', 'lower', 2),
    'identity_dlib_cosine': Column('Cosine (dlib)', 'higher', 4),
    'identity_arcface_angle': Column('Angle (ArcFace)', 'lower', 2),
    'identity_arcface_cosine': Column('Cosine (ArcFace)', 'higher', 4),
    'identity_mobilefacenet_angle': Column('Angle (MobileFaceNet)', 'lower', 2),
    'identity_mobilefacenet_cosine': Column('Cosine (MobileFaceNet)', 'higher', 4),
    'lmd': Column('LMD', 'lower', 3),
    'fid_gt': Column('FID to GT', 'lower', 3),
}

METRICS = (
    'psnr',
    'ssim',
    'lpips_alex',
    'lpips_vgg',
    'niqe',
    'ifqa',
    'identity_dlib',
    'identity_arcface',
    'identity_mobilefacenet',
    'lmd',
    'fid',
)


def column(name: str) -> Column:
    """Return the column; FID to stored statistics is named after their file."""
    if name.startswith('fid_') and name not in COLUMNS:
        return Column(f'FID to {name.removeprefix("fid_")}', 'lower', 3)
    return COLUMNS[name]
