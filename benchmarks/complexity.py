"""Parameters and multiply-accumulates of the networks of an option file, counted without memory for weights.

Usage: python benchmarks/complexity.py [options/train_mmrbgan.yml]
"""

import sys
from pathlib import Path

import torch
import yaml
from torch.utils.flop_counter import FlopCounterMode

import mmrbgan_arch


def count(network: torch.nn.Module, size: int) -> tuple[float, float]:
    """Return millions of numbers in the network, frozen ones included, and GMACs for one (1, 3, size, size) image."""
    counter = FlopCounterMode(display=False)
    with counter:
        network(torch.empty(1, 3, size, size, device='meta'))
    return sum(value.numel() for value in network.state_dict().values()) / 1e6, counter.get_total_flops() / 2e9


def main(path: str = 'options/train_mmrbgan.yml') -> None:
    """Print one line per network."""
    options = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    size = options['network_g']['out_size']
    for key in ('network_g', 'network_d'):
        arguments = dict(options[key])
        kind = arguments.pop('type')
        with torch.device('meta'):
            network = getattr(mmrbgan_arch, kind)(**arguments)
        parameters, gmacs = count(network.eval(), size)
        print(f'{kind}: {parameters:.1f} M parameters, {gmacs:.1f} GMACs at {size} px')


if __name__ == '__main__':
    main(*sys.argv[1:])
