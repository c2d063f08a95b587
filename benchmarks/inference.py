"""Seconds per 512-px face of ours and of other restorers, in turn in one run; share of the machine's peak; memory.

    python benchmarks/inference.py                                  # table: batch 1 and 4, every network, the CPU
    python benchmarks/inference.py --device cuda --precision auto   # the same on a GPU, in the precision users get
    python benchmarks/inference.py --growth                         # time against size, batch and number of faces
    python benchmarks/inference.py --floor                          # operations and bytes of ours, form by form
    python benchmarks/inference.py --start                          # how long importing and --help take
    python benchmarks/plot_inference.py                             # the README's picture, from the last two's JSON

All weights are random; peers are built from their architectures' classes in spandrel and spandrel_extra_arches (`pip
install 'mmrbgan[baselines]'`) and run as they come, in eager mode. One round runs every network once, and the medians
are over rounds, so that a slow minute of the machine slows all of them. 'GFLOP' are the operations of the network as
its authors write it; ours does fewer of them (docs/performance.md), so its share of the peak may exceed 100 %.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmrbgan.face_network import FaceNetwork, pick_precision
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.inference import DirectConv2d, InferenceUp
from mmrbgan_arch.layers import ConvLayer, EqualizedConv2d, ModulatedConv2d, UpConvLayer
from mmrbgan_arch.winograd import WinogradConv2d

RESULTS = Path(__file__).parent / 'results'
SIZE, REFERENCE = 512, 'GFPGAN'
OURS = {'MMRBGAN': 1.0, 'MMRBGAN narrow 0.5': 0.5}
PEERS = ('GFPGAN', 'RestoreFormer', 'CodeFormer')
EXTRA = ('MMRBGAN training form', 'MMRBGAN direct')
SIZES, BATCHES, FACES = (256, 512, 1024), (1, 2, 4, 8, 16), (1, 4, 16)
Run = Callable[[Tensor], Any]


def main() -> None:
    """Measure what is asked for; print tables, write JSON."""
    args = read_arguments()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        print(peak_memory(args.memory_of, args))
    elif args.start:
        show_start()
    elif args.floor:
        show_floor()
    elif args.growth:
        write(args, 'growth', measure_growth(args))
    else:
        write(args, 'networks', measure_networks(args))


def read_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', default='float32', help='float32, bfloat16, auto (for all networks)')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--networks', nargs='+', default=[*OURS, *PEERS], choices=[*OURS, *PEERS, *EXTRA])
    parser.add_argument('--compile', action='store_true', help='ours through torch.compile')
    parser.add_argument('--no-memory', action='store_true', help='leave the processes for memory out')
    parser.add_argument('--growth', action='store_true', help='time against size, batch and faces, ours alone')
    parser.add_argument('--floor', action='store_true', help='print operations and bytes of ours, form by form')
    parser.add_argument('--start', action='store_true', help='time importing and --help')
    parser.add_argument('--out', type=Path, help='JSON (default: benchmarks/results/inference_KIND_DEVICE.json)')
    parser.add_argument('--memory-of', help=argparse.SUPPRESS)
    return parser.parse_args()


# Networks


def build(name: str, size: int = SIZE) -> nn.Module:
    """Build a network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    if name.startswith('MMRBGAN'):
        return leave_the_start(MMRBGAN(size, narrow=OURS.get(name, 1.0))).eval()
    if name == 'GFPGAN':
        from spandrel.architectures.GFPGAN import GFPGAN

        return GFPGAN(out_size=size).eval()
    if name == 'RestoreFormer':
        from spandrel.architectures.RestoreFormer import RestoreFormer

        return RestoreFormer().eval()
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    return CodeFormer().eval()


@torch.no_grad()
def leave_the_start(network: nn.Module) -> nn.Module:
    """Move every weight a little: a fresh network is full of zeros."""
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def runner(name: str, size: int, args: argparse.Namespace) -> Run:
    """Return the function that runs a batch as its users would run it."""
    device, dtype = torch.device(args.device), pick_precision(args.precision, torch.device(args.device))
    network = build(name, size).to(device)
    if name in OURS:
        return FaceNetwork(network, size, device, args.precision, 1, compile=args.compile, release=True).network
    if name == 'MMRBGAN direct':
        return network.prepare_for_inference(dtype, winograd=False, release=True)
    if name == 'MMRBGAN training form':
        network = network.to(memory_format=torch.channels_last)
    arguments = {'randomize_noise': False} if name == 'GFPGAN' else {}

    def run(x: Tensor) -> Any:
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            return network(x, **arguments)

    return run


def count_gflop(name: str, size: int) -> float:
    """Return the operations per face of the network as written, in units of 10^9."""
    with torch.inference_mode(False), torch.device('meta'):
        return count_operations(build(name, size), size)


def count_operations(network: nn.Module, size: int) -> float:
    """Return the operations of convolutions and matrix products for one face, in units of 10^9."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(False), counter:
        network.requires_grad_(False)(torch.empty(1, 3, size, size, device='meta'))
    return counter.get_total_flops() / 1e9


# Measures


def timed(run: Callable[[], Any], device: str) -> float:
    """Return the seconds of one call."""
    finish(device)
    start = time.perf_counter()
    run()
    finish(device)
    return time.perf_counter() - start


def finish(device: str) -> None:
    """Wait for a GPU."""
    if device.startswith('cuda'):
        torch.cuda.synchronize()


def matrix_product(device: str, dtype: torch.dtype) -> tuple[Callable[[], Any], float]:
    """Return a large matrix product and its operations, in units of 10^9: what the machine can do at most."""
    side = 8192 if device.startswith('cuda') else 2048
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    return lambda: torch.mm(one, other), 2 * side**3 / 1e9


def median_seconds(runs: dict[str, Callable[[], Any]], rounds: int, device: str) -> dict[str, list[float]]:
    """Return the seconds of every run in every round; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            once = timed(run, device)
            if i:
                seconds[name].append(once)
    return seconds


def peak_memory(name: str, args: argparse.Namespace) -> float:
    """Return the most memory of this process, or of the GPU, after two faces one by one; in units of 10^9 bytes."""
    with torch.inference_mode():
        run = runner(name, SIZE, args)
        for _ in range(2):
            run(torch.rand(1, 3, SIZE, SIZE, device=args.device) * 2 - 1)
    if args.device.startswith('cuda'):
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_resident()


def peak_resident() -> float:
    """Return the most memory this program held, in GB; ru_maxrss would count what its parent held at the fork, too."""
    status = Path('/proc/self/status')
    if status.is_file():
        return float(status.read_text().split('VmHWM:')[1].split()[0]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def memory_in_a_process(name: str, args: argparse.Namespace) -> float:
    """Return ``peak_memory`` of a process of its own."""
    command = [sys.executable, __file__, '--memory-of', name, '--device', args.device, '--precision', args.precision]
    done = subprocess.run([*command, '--threads', str(args.threads)], capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


@torch.inference_mode()
def measure_networks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every network at every batch, print the table."""
    product, gflop_of_product = matrix_product(args.device, pick_precision(args.precision, torch.device(args.device)))
    flop = {name: count_gflop(name, SIZE) for name in args.networks}
    networks = {name: runner(name, SIZE, args) for name in args.networks}
    memory = {name: None if args.no_memory else memory_in_a_process(name, args) for name in args.networks}
    lines = []
    print(f'{described(args)}; per face of {SIZE} px, medians of {args.rounds} rounds\n')
    print('| network | batch | seconds | of GFPGAN | GFLOP | GFLOP/s | of the peak | peak memory |')
    print('| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    for batch in args.batches:
        x = torch.rand(batch, 3, SIZE, SIZE, device=args.device) * 2 - 1
        runs = {'peak': product} | {name: (lambda run=run, x=x: run(x)) for name, run in networks.items()}
        if args.compile:
            first = {name: timed(run, args.device) for name, run in runs.items() if name in OURS}
            told = (f'{name}: first batch of {batch} in {one:.1f} s' for name, one in first.items())
            print(*told, sep='; ', file=sys.stderr)
        seconds = median_seconds(runs, args.rounds, args.device)
        peak = gflop_of_product / statistics.median(seconds.pop('peak'))
        faces = {name: [one / batch for one in values] for name, values in seconds.items()}
        for name, values in faces.items():
            line = one_line(name, batch, values, faces.get(REFERENCE), flop[name], peak, memory[name])
            lines.append(line)
            print(as_row(line), flush=True)
    return lines


def one_line(
    name: str,
    batch: int,
    seconds: list[float],
    reference: list[float] | None,
    gflop: float,
    peak: float,
    memory: float | None,
) -> dict[str, Any]:
    """Return one line of the table; the ratio is the median of the ratios round by round."""
    median = statistics.median(seconds)
    ratios = [one / other for one, other in zip(seconds, reference, strict=True)] if reference else []
    return {
        'network': name,
        'batch': batch,
        'seconds': median,
        'fastest': min(seconds),
        'slowest': max(seconds),
        'of_gfpgan': statistics.median(ratios) if ratios else None,
        'gflop': gflop,
        'gflop_per_s': gflop / median,
        'peak_gflop_per_s': peak,
        'share': gflop / median / peak,
        'memory_gb': memory if batch == 1 else None,
    }


def as_row(line: dict[str, Any]) -> str:
    """Return a line as Markdown."""
    ratio = '' if line['of_gfpgan'] is None else f'{line["of_gfpgan"]:.2f}'
    memory = '' if line['memory_gb'] is None else f'{line["memory_gb"]:.2f} GB'
    return (
        f'| {line["network"]} | {line["batch"]} | {line["seconds"]:.4g} | {ratio} | {line["gflop"]:.0f} | '
        f'{line["gflop_per_s"]:.0f} | {line["share"]:.0%} | {memory} |'
    )


@torch.inference_mode()
def measure_growth(args: argparse.Namespace) -> dict[str, Any]:
    """Time ours against size and batch, and `FaceNetwork` against the number of faces."""
    found: dict[str, Any] = {'size': {}, 'batch': {}, 'faces': {}}
    print(f'{described(args)}\n\n| network | what | seconds | per face |\n| --- | --- | ---: | ---: |')
    for name in OURS:
        for size in SIZES:
            grow(found, name, 'size', size, runner(name, size, args), (1, 3, size, size), 1, args)
        run = runner(name, SIZE, args)
        for batch in BATCHES:
            grow(found, name, 'batch', batch, run, (batch, 3, SIZE, SIZE), batch, args)
        faces = FaceNetwork(build(name), SIZE, torch.device(args.device), args.precision, release=True)
        for count in FACES:
            shape = (count, SIZE, SIZE, 3)
            grow(found, name, 'faces', count, lambda x, faces=faces: faces(list(x)), shape, count, args)
    return found


def grow(
    found: dict[str, Any],
    name: str,
    kind: str,
    value: int,
    run: Run,
    shape: tuple[int, ...],
    count: int,
    args: argparse.Namespace,
) -> None:
    """Time one point of a curve, print it and keep it."""
    x = torch.rand(shape, device='cpu' if kind == 'faces' else args.device)
    given = x.numpy() if kind == 'faces' else x
    seconds = statistics.median(median_seconds({'': lambda: run(given)}, args.rounds, args.device)[''])
    found[kind].setdefault(name, []).append([value, seconds])
    print(f'| {name} | {kind} {value} | {seconds:.4g} | {seconds / count:.4g} |', flush=True)


def show_floor() -> None:
    """Print what has to be computed and moved: operations, weights, and the maps each convolution reads and writes."""
    print(f'| network at {SIZE} px | form | GFLOP | weights, GB | maps read and written, GB |')
    print('| --- | --- | ---: | ---: | ---: |')
    for name in OURS:
        with torch.device('meta'):
            network = build(name)
            forms = {
                'as the paper writes it': network,
                'folded': network.prepare_for_inference(torch.float32, winograd=False),
                "folded, Winograd's convolutions": network.prepare_for_inference(torch.float32, winograd=True),
            }
            for form, module in forms.items():
                weights = sum(value.numel() * 4 for value in module.state_dict().values())
                gflop, moved = count_operations(module, SIZE), count_map_bytes(module)
                print(f'| {name} | {form} | {gflop:.0f} | {weights / 1e9:.2f} | {moved / 1e9:.2f} |')


def count_map_bytes(network: nn.Module) -> float:
    """Return the float32 bytes of all maps that convolutions read and write, each counted once per convolution."""
    total = 0

    def add(value: Any) -> None:
        nonlocal total
        for part in value if isinstance(value, list | tuple) else [value]:
            total += 4 * part.numel()

    kinds = (DirectConv2d, WinogradConv2d, InferenceUp, ConvLayer, EqualizedConv2d, UpConvLayer, ModulatedConv2d)
    for module in network.modules():
        if isinstance(module, kinds):
            module.register_forward_pre_hook(lambda module, inputs: add(inputs[0]))  # before: some empty their list
            module.register_forward_hook(lambda module, inputs, output: add(output))
    with torch.no_grad():
        network(torch.empty(1, 3, SIZE, SIZE, device='meta'))
    return total


def show_start() -> None:
    """Print how long importing and `--help` take, each the least of five processes."""
    inside = 'import time; t = time.perf_counter(); import mmrbgan; print(time.perf_counter() - t)'
    imports = [subprocess.run([sys.executable, '-c', inside], capture_output=True, text=True) for _ in range(5)]
    print(f'import mmrbgan: {min(float(done.stdout) for done in imports):.3f} s')
    for title, command in (('mmrbgan --help', ['-m', 'mmrbgan.cli', '--help']), ('python itself', ['-c', 'pass'])):
        whole = [sys.executable, *command]
        least = min(timed(lambda whole=whole: subprocess.run(whole, capture_output=True), '') for _ in range(5))
        print(f'{title}: {least:.3f} s')


def described(args: argparse.Namespace) -> str:
    """Say where this was measured."""
    precision = str(pick_precision(args.precision, torch.device(args.device))).removeprefix('torch.')
    place = torch.cuda.get_device_name() if args.device.startswith('cuda') else f'CPU, {args.threads} threads'
    return f'{place}, {precision}, torch {torch.__version__.split("+")[0]}{", compiled" if args.compile else ""}'


def write(args: argparse.Namespace, kind: str, content: Any) -> None:
    """Write the JSON."""
    path = args.out or RESULTS / f'inference_{kind}_{args.device.replace(":", "")}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'where': described(args), kind: content}, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
