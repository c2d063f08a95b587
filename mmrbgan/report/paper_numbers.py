"""Numbers quoted from the paper (arXiv 2205.14377v3, Tables 1 and 6); measured by its authors, on their own set."""

from .tables import Cell, Row

TABLE_1_COLUMNS = ('psnr', 'ssim', 'lpips_paper', 'fid_gt', 'niqe', 'ifqa')
TABLE_1 = {
    'MMRBGAN (paper)': (26.034, 0.702, 0.162, 16.080, 4.285, 0.370),
    'GCFSR (paper)': (25.925, 0.700, 0.163, 16.859, 4.963, 0.367),
    'GFPGAN (paper)': (24.895, 0.688, 0.172, 21.160, 4.746, 0.316),
    'GPEN (paper)': (25.190, 0.680, 0.169, 21.852, 4.712, 0.242),
}
TABLE_6 = {'MMRBGAN (paper)': 0.109, 'GPEN (paper)': 0.031, 'GFPGAN (paper)': 0.026}


def quoted_synthetic() -> list[Row]:
    """Table 1: 2556 CelebA faces of the authors' choice; the LPIPS backbone is not stated."""
    about = 'quoted: Table 1, 2556 CelebA faces, set not published'
    return [
        Row(
            method, {name: Cell(value) for name, value in zip(TABLE_1_COLUMNS, values, strict=True)}, about, quoted=True
        )
        for method, values in TABLE_1.items()
    ]


def quoted_times() -> list[Row]:
    """Table 6: seconds per face of 512 px on a V100."""
    return [
        Row(method, {'seconds': Cell(seconds)}, 'quoted: Table 6, V100', quoted=True)
        for method, seconds in TABLE_6.items()
    ]
