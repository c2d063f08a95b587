"""What a whole training step costs: seconds, GFLOP/s, peak memory, share of the machine's matrix-product peak.

Every loss of the paper's run is on (VGG-19 and ArcFace with random weights: the arithmetic is the same); the mean is
over 16 iterations' worth, one of which has the R1 penalty. Each line is a process of its own.

    python benchmarks/train.py [--sizes 256 512] [--batch 1] [--narrow 1.0] [--repeat 3] [--variants plain bf16 ...]
    python benchmarks/train.py --sizes 512 --batch 4            # the paper's step, on one GPU
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VARIANTS: dict[str, dict[str, Any]] = {
    'plain': {},
    'without FreezeD': {'freeze_layers': 0},
    'channels_last': {'channels_last': True},
    'fused_adam': {'channels_last': True, 'fused_adam': True},
    'checkpointing': {'grad_checkpointing': True},
    'bf16': {'amp': 'bf16', 'channels_last': True},
    'bf16 checkpointing': {'amp': 'bf16', 'channels_last': True, 'grad_checkpointing': True},
    'bf16 graph': {'amp': 'bf16', 'channels_last': True, 'fused_adam': True, 'cuda_graph': True},
    'bf16 compile': {'amp': 'bf16', 'channels_last': True, 'compile': True},
}
R1_EVERY = 16


def main() -> None:
    """Print a table, line by line, and one line of JSON."""
    args = read_arguments()
    if args.one:
        print(json.dumps(measure(args.sizes[0], args.one, args)))
        return
    print(f'batch {args.batch}, narrow {args.narrow}')
    print(f'{"size":>5} {"variant":20} {"s/iteration":>11} {"GFLOP":>8} {"GFLOP/s":>9} {"of peak":>8} {"memory":>9}')
    lines = [in_a_process(size, name, args) for size in args.sizes for name in args.variants]
    print(json.dumps(lines))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=int, nargs='+', default=[256, 512])
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--narrow', type=float, default=1.0)
    parser.add_argument('--repeat', type=int, default=3, help='timed iterations of each kind (the median counts)')
    parser.add_argument('--variants', nargs='+', choices=VARIANTS, default=list(VARIANTS)[:-1])
    parser.add_argument('--one', choices=VARIANTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_a_process(size: int, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Measure one line in a process of its own, for its peak memory, and print it."""
    command = [sys.executable, __file__, '--one', name, '--sizes', str(size), '--batch', str(args.batch)]
    command += ['--narrow', str(args.narrow), '--repeat', str(args.repeat)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env={**os.environ})
    if done.returncode:
        print(f'{size:5} {name:20} failed with status {done.returncode}')
        return {'size': size, 'variant': name, 'failed': done.returncode}
    line = json.loads(done.stdout.splitlines()[-1])
    print(
        f'{size:5} {name:20} {line["seconds"]:11.3f} {line["gflop"]:8.0f} '
        f'{line["gflop_per_s"]:9.0f} '
        f'{line["share"]:8.0%} {line["memory_gb"]:6.1f} GB',
        flush=True,
    )
    return line


def measure(size: int, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Return one line: a step with and one without the R1 penalty, weighted as they come in a run."""
    import torch

    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    model = build(size, name, args)
    data = batch(size, args.batch)
    plain, penalised = (lambda: step(model, data, 1), lambda: step(model, data, R1_EVERY))
    flop = [count(run) for run in (plain, penalised)]  # warms up, too
    seconds = [timed(run, args.repeat) for run in (plain, penalised)]
    memory = torch.cuda.max_memory_allocated() if device.type == 'cuda' else peak_rss()
    mean_flop, mean_seconds = (((R1_EVERY - 1) * a + b) / R1_EVERY for a, b in (flop, seconds))
    rate = mean_flop / mean_seconds
    peak = matrix_product_rate(device, torch.bfloat16 if 'bf16' in name else torch.float32)
    return {
        'size': size,
        'batch': args.batch,
        'variant': name,
        'device': torch.cuda.get_device_name() if device.type == 'cuda' else f'CPU, {torch.get_num_threads()} threads',
        'seconds': mean_seconds,
        'seconds_without_r1': seconds[0],
        'seconds_with_r1': seconds[1],
        'gflop': mean_flop / 1e9,
        'gflop_per_s': rate / 1e9,
        'peak_gflop_per_s': peak / 1e9,
        'share': rate / peak,
        'memory_gb': memory / 1e9,
    }


def build(size: int, name: str, args: argparse.Namespace) -> Any:
    """Build the paper's model at another size, with random weights everywhere."""
    import torch

    from mmrbgan import plugin  # noqa: F401
    from mmrbgan.running.options.run_yml import fill_defaults, load_yml
    from mmrbgan_arch import MMRBGANArcFace
    from mmrbgan_model import mmrbgan_model
    from mmrbgan_model.perceptual import FeatureMaps

    opt = fill_defaults(load_yml(ROOT / 'options/train_mmrbgan.yml'), is_train=True)
    changes = dict(VARIANTS[name])
    for key in ('network_g', 'network_d'):
        opt[key].update(out_size=size, narrow=args.narrow)
    opt['network_d']['freeze_layers'] = changes.pop('freeze_layers', min(5, size.bit_length() - 3))
    opt['train'].update({'fused_adam': torch.cuda.is_available()} | changes)
    opt.update(num_gpu=int(torch.cuda.is_available()), dist=False, is_train=True)
    opt['path'] = dict.fromkeys(('models', 'training_states', 'experiments_root', 'visualization'), 'unused')
    mmrbgan_model.build_feature_maps = lambda options: FeatureMaps(options.network, options.layers)
    mmrbgan_model.MMRBGANModel._build_recogniser = lambda self, weights: MMRBGANArcFace().to(self.device)
    torch.backends.cudnn.benchmark = True
    return mmrbgan_model.MMRBGANModel(opt)


def batch(size: int, count: int) -> dict[str, Any]:
    """Make random faces whose eyes and mouth lie where aligned faces have them."""
    import torch

    images = torch.rand(2, count, 3, size, size) * 2 - 1
    boxes = torch.tensor([[0.29, 0.39, 0.45, 0.55], [0.55, 0.39, 0.71, 0.55], [0.38, 0.62, 0.62, 0.86]]) * size
    found = {'lq': images[0], 'gt': images[1], 'component_boxes': boxes.expand(count, 3, 4).clone()}
    found['component_mask'] = torch.ones(count, 3, dtype=torch.bool)
    return {key: value.cuda() if torch.cuda.is_available() else value for key, value in found.items()}


def step(model: Any, data: dict[str, Any], iteration: int) -> None:
    """Run what the training loop runs for one batch."""
    model.update_learning_rate(iteration)
    model.feed_data(data)
    model.optimize_parameters(iteration)


def count(run: Callable[[], None]) -> float:
    """Return the floating-point operations of the convolutions and matrix products of one step."""
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils.flop_counter import flop_registry

    class Counter(TorchDispatchMode):  # FlopCounterMode's hooks refuse the R1 penalty's autograd.grad
        total = 0

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            cost = flop_registry.get(function._overloadpacket)
            self.total += cost(*args, **(kwargs or {}), out_val=result) if cost else 0
            return result

    with Counter() as counter:
        run()
    return float(counter.total)


def timed(run: Callable[[], None], repeat: int) -> float:
    """Return the median seconds of a step."""
    import torch

    seconds = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[repeat // 2]


def matrix_product_rate(device: Any, kind: Any) -> float:
    """Return the best rate of a large square matrix product, operations per second."""
    import torch

    side = 8192 if device.type == 'cuda' else 3072
    one, other = (torch.randn(side, side, device=device, dtype=kind) for _ in range(2))
    torch.mm(one, other)
    return 2 * side**3 / min(timed(lambda: torch.mm(one, other), 1) for _ in range(7))


def peak_rss() -> float:
    """Return the most memory this process held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == '__main__':
    main()
