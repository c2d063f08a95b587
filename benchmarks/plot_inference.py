"""Draws how the network's time grows with size, batch and number of faces, from `inference.py --growth`'s JSON.

python benchmarks/plot_inference.py [benchmarks/results/inference_growth_cpu.json] [docs/images/inference.png]
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt

ROOT = Path(__file__).resolve().parents[1]
LABELS = {
    'size': 'side of one face, pixels',
    'batch': 'faces in one batch (512 px)',
    'faces': 'faces in one photograph',
}


def main(
    source: str = str(ROOT / 'benchmarks/results/inference_growth_cpu.json'),
    target: str = str(ROOT / 'docs/images/inference.png'),
) -> None:
    """Draw three panels, seconds on a logarithmic axis."""
    content = json.loads(Path(source).read_text(encoding='utf-8'))
    figure, panels = plt.subplots(1, 3, figsize=(10, 3), sharey=True, layout='constrained')
    for panel, (kind, label) in zip(panels, LABELS.items(), strict=True):
        for name, points in content['growth'][kind].items():
            panel.plot(*zip(*points, strict=True), marker='o', label=name)
        values = sorted({value for points in content['growth'][kind].values() for value, _ in points})
        panel.set(xlabel=label, xscale='log', yscale='log')
        panel.set_xticks(values, [str(value) for value in values])
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    panels[0].set_ylabel('seconds')
    panels[0].legend()
    figure.suptitle(content['where'], fontsize=9)
    figure.savefig(target, dpi=110)


if __name__ == '__main__':
    main(*sys.argv[1:])
