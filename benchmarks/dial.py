"""A dial between faithful and vivid: pasting strength against interpolated weights (ESRGAN's network interpolation).

Pasting strength blends the degraded face with the restored one; interpolation restores with weights between those of a
network trained on L1 alone and those of the whole recipe. Both are scored at the same places of the dial, by judges
that were in no loss: PSNR, dlib's distance to the true face, EfficientNet-Lite0's distance, the colour of the skin.

    python benchmarks/dial.py L1.safetensors FINAL.safetensors --faces DIR [--options FILE.yml]
"""

import argparse
import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mmrbgan.running.options.run_yml import load_yml
from mmrbgan_arch import load_network
from mmrbgan_data.datasets.validation_dataset import MMRBGANTestDataset
from mmrbgan_model.metrics.efficientnet_lite import lite0_distance
from mmrbgan_model.metrics.identity import identity
from mmrbgan_model.metrics.psnr_ssim import psnr
from mmrbgan_model.metrics.skin_colour import skin_difference

PLACES = (0.0, 0.25, 0.5, 0.75, 1.0)
BATCH = 16
JUDGES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'PSNR': psnr,
    'dlib distance': lambda restored, gt: identity(restored, gt)['distance'],
    'Lite0 distance': lite0_distance,
    'skin': skin_difference,
}


def main() -> None:
    """Print one line per place of each dial."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('faithful', help='weights of the first stage (L1)')
    parser.add_argument('vivid', help='weights of the whole recipe, the same network')
    parser.add_argument('--faces', required=True, help='a folder of aligned faces')
    parser.add_argument('--options', default='options/train_mmrbgan_128_mini.yml')
    parser.add_argument('--limit', type=int, help='the first so many faces')
    args = parser.parse_args()
    lq, gt = read(args)
    faithful, vivid = load_network(args.faithful), load_network(args.vivid)
    restored = run(vivid, lq)
    print(f'{len(lq)} faces  ' + '  '.join(f'{name:>14}' for name in JUDGES))
    for place in PLACES:
        show(f'pasting strength {place:.2f}', torch.lerp(lq, restored, place), gt)
    for place in PLACES:
        show(f'weights at {place:.2f}', run(between(faithful, vivid, place), lq), gt)


def read(args: argparse.Namespace) -> tuple[Tensor, np.ndarray]:
    """Return the degraded faces (n, 3, s, s) in [-1, 1] and the true ones, RGB uint8 (n, s, s, 3)."""
    section = load_yml(Path(args.options))['datasets']['val'] | {'dataroot_gt': args.faces, 'phase': 'val'}
    dataset = MMRBGANTestDataset(section | ({'max_images': args.limit} if args.limit else {}))
    samples = [dataset[i] for i in range(len(dataset))]
    return torch.stack([one['lq'] for one in samples]), pictures(torch.stack([one['gt'] for one in samples]))


def between(faithful: nn.Module, vivid: nn.Module, place: float) -> nn.Module:
    """Return the network whose every weight lies between those of two, 0 the first, 1 the second."""
    network, first, second = copy.deepcopy(vivid), faithful.state_dict(), vivid.state_dict()
    if {key: value.shape for key, value in first.items()} != {key: value.shape for key, value in second.items()}:
        raise SystemExit('the two files hold networks of different shapes; only equal ones have a line between them')
    network.load_state_dict(
        {
            key: torch.lerp(first[key], value, place) if value.is_floating_point() else value
            for key, value in second.items()
        }
    )
    return network


@torch.inference_mode()
def run(network: nn.Module, lq: Tensor) -> Tensor:
    """Restore (n, 3, s, s) in [-1, 1]."""
    return torch.cat([network(part) for part in lq.split(BATCH)])


def pictures(faces: Tensor) -> np.ndarray:
    """(n, 3, s, s) in [-1, 1] -> RGB uint8 (n, s, s, 3)."""
    return ((faces.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


def show(title: str, restored: Tensor, gt: np.ndarray) -> None:
    """Print the means over the faces."""
    found = pictures(restored)
    scores = [
        np.concatenate([judge(found[i : i + BATCH], gt[i : i + BATCH]) for i in range(0, len(gt), BATCH)])
        for judge in JUDGES.values()
    ]
    print(f'{title:22}' + '  '.join(f'{score.mean():14.4f}' for score in scores), flush=True)


if __name__ == '__main__':
    main()
