"""What FreezeD saves (paper 3.3): seconds per discriminator step with and without frozen layers, in turn, medians.

A step is what training does: logits of a true and of a restored batch, the loss of Eq. 11, backward, Adam; without the
penalty of every 16th step, whose gradient to the image passes through the frozen layers. The pass of the generator's
step (gradient to the image through the discriminator) is timed too: frozen layers take part in it.

    python benchmarks/freezed.py [--size 512] [--batch 1] [--narrow 1.0] [--freeze 5] [--repeat 5] [--device cpu]
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812

from mmrbgan_arch import MMRBGANDiscriminator


def main() -> None:
    """Print a table and one line of JSON."""
    args = read_arguments()
    torch.manual_seed(0)
    real, fake = (torch.rand(args.batch, 3, args.size, args.size, device=args.device) * 2 - 1 for _ in range(2))
    networks = {count: build(args, count) for count in (0, args.freeze)}
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(args.repeat + 1):  # the first round warms up
        for count, (network, optimizer) in networks.items():
            note(times, ('discriminator step', count), lambda: discriminator_step(network, optimizer, real, fake))  # noqa: B023
            note(times, ("pass of the generator's step", count), lambda: generator_pass(network, fake))  # noqa: B023
    medians = {key: statistics.median(seconds[1:]) for key, seconds in times.items()}
    report(args, medians, {count: network for count, (network, _) in networks.items()})


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, default=512)
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--narrow', type=float, default=1.0)
    parser.add_argument('--freeze', type=int, default=5, help='how many layers to freeze')
    parser.add_argument('--repeat', type=int, default=5)
    parser.add_argument('--device', default='cpu')
    return parser.parse_args()


def build(args: argparse.Namespace, count: int) -> tuple[MMRBGANDiscriminator, torch.optim.Optimizer]:
    """A discriminator with ``count`` frozen layers, and its optimizer."""
    network = MMRBGANDiscriminator(args.size, narrow=args.narrow, freeze_layers=count).to(args.device)
    return network, torch.optim.Adam(network.parameters(), lr=2e-5, betas=(0.0, 0.99))


def discriminator_step(
    network: MMRBGANDiscriminator, optimizer: torch.optim.Optimizer, real: torch.Tensor, fake: torch.Tensor
) -> None:
    """Eq. 11 from the discriminator's side."""
    loss = F.softplus(-network(real)).mean() + F.softplus(network(fake)).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()


def generator_pass(network: MMRBGANDiscriminator, fake: torch.Tensor) -> None:
    """Eq. 11 from the generator's side: the gradient of the image alone."""
    network.requires_grad_(False)
    image = fake.clone().requires_grad_()
    F.softplus(-network(image)).mean().backward()
    network.requires_grad_(True)


def note(times: dict[tuple[str, int], list[float]], key: tuple[str, int], run: Callable[[], None]) -> None:
    """Time one run."""
    synchronize()
    start = time.perf_counter()
    run()
    synchronize()
    times.setdefault(key, []).append(time.perf_counter() - start)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def report(
    args: argparse.Namespace, medians: dict[tuple[str, int], float], networks: dict[int, MMRBGANDiscriminator]
) -> None:
    """Print the table and the JSON."""
    print(f'{args.size} px, batch {args.batch}, narrow {args.narrow}, {args.device}, {torch.get_num_threads()} threads')
    for count, network in networks.items():
        trained = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        print(f'{count} frozen layers: {trained:.2f} M trained parameters')
    print(f'{"seconds, median":32}{"0 frozen":>10}{f"{args.freeze} frozen":>10}{"saved":>8}')
    for name in dict.fromkeys(key[0] for key in medians):
        free, frozen = medians[name, 0], medians[name, args.freeze]
        print(f'{name:32}{free:10.4f}{frozen:10.4f}{1 - frozen / free:8.0%}')
    print(json.dumps({**vars(args), 'seconds': {f'{name}, {count} frozen': t for (name, count), t in medians.items()}}))


if __name__ == '__main__':
    main()
