"""Draws validation gains against iterations from the logs of runs, one line per log.

python benchmarks/plot_training.py PICTURE LOG...
"""

import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

ITERATION = re.compile(r'iter:\s*([\d,]+),')
GAIN = re.compile(r'(psnr|ssim) [\d.]+ \(input [\d.]+, change ([-+.\d]+)\)')


def main(picture: str, *logs: str) -> None:
    """Draw two panels, PSNR and SSIM above the degraded input's."""
    figure, panels = plt.subplots(1, 2, figsize=(9, 3), layout='constrained')
    for log in logs:
        gains = read(Path(log))
        for panel, metric in zip(panels, ('psnr', 'ssim'), strict=True):
            panel.plot(*zip(*gains[metric], strict=True), marker='.', label=Path(log).stem)
    for panel, label in zip(panels, ('PSNR above the input, dB', 'SSIM above the input'), strict=True):
        panel.set(xlabel='iteration', ylabel=label)
        panel.locator_params(axis='x', nbins=5)
        panel.grid(alpha=0.3)
    panels[0].legend()
    figure.savefig(picture, dpi=110)


def read(log: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (iteration, gain) of every validation; its iteration is that of the line before it."""
    found: dict[str, list[tuple[int, float]]] = {'psnr': [], 'ssim': []}
    iteration = 0
    for line in log.read_text(encoding='utf-8').splitlines():
        if match := ITERATION.search(line):
            iteration = int(match[1].replace(',', ''))
        for metric, gain in GAIN.findall(line):
            found[metric].append((iteration, float(gain)))
    return found


if __name__ == '__main__':
    main(*sys.argv[1:])
