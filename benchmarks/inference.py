"""Seconds per 512-px face of ours and of other restorers, in turn in one run; share of the machine's peak; memory.

    python benchmarks/inference.py                                  # table: batch 1 and 4, every network, the CPU
    python benchmarks/inference.py --device cuda --precision auto   # the same on a GPU, in the precision users get
    python benchmarks/inference.py --growth                         # time against size, batch and number of faces
    python benchmarks/inference.py --floor                          # operations and bytes of ours, form by form
    python benchmarks/inference.py --start                          # how long importing and --help take
    python benchmarks/plot_inference.py                             # the README's picture, from the last two's JSON

All weights are random; peers are built from their architectures' classes in spandrel and spandrel_extra_arches (`pip
install 'mmrbgan[baselines]'`) and run as they come, in eager mode and float32 (`--peer-precision` for another). Each
has a second row with memory kept between faces, as ours keeps it (glibc's mallopt), which helps them as much. Every
network lives in a process of its own, as its users have it. One round runs every network once, and
the medians are over rounds, so that a slow minute of the machine slows all of them. 'GFLOP' are the operations of the
network as its authors write it; Winograd's convolutions do fewer of them (docs/performance.md), so that their share of
the peak may exceed 100 %. The peak is the better of a matrix product and a convolution in the network's
precision, measured in every round.
"""

import argparse
import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmrbgan.restoring.face_network import FaceNetwork, pick_precision
from mmrbgan_arch import MMRBGAN
from mmrbgan_arch.inference.modules import InferenceUp
from mmrbgan_arch.inference.plan import DirectConv2d
from mmrbgan_arch.inference.winograd import WinogradConv2d
from mmrbgan_arch.layers import ConvLayer, EqualizedConv2d, ModulatedConv2d, UpConvLayer
from mmrbgan_arch.support.memory import keep_memory, separate_memory

RESULTS = Path(__file__).parent / 'results'
SIZE, REFERENCE = 512, 'GFPGAN'
OURS = {'MMRBGAN': 1.0, 'MMRBGAN narrow 0.5': 0.5}
PEERS = ('GFPGAN', 'RestoreFormer', 'CodeFormer')
KEPT = ', memory kept'
BOTH = tuple(f'{name}{kept}' for name in PEERS for kept in ('', KEPT))
EXTRA = ('MMRBGAN training form', 'MMRBGAN direct', 'MMRBGAN winograd')
PEAK = 'peak'
SIZES, BATCHES, FACES = (256, 512, 1024), (1, 2, 4, 8, 16), (1, 4, 16)
Run = Callable[[Tensor], Any]


def main() -> None:
    """Measure what is asked for; print tables, write JSON."""
    args = read_arguments()
    torch.set_num_threads(args.threads)
    if args.serve:
        serve(args.serve, args)
    elif args.memory_of:
        serve(args.memory_of, args, given=['1', '1'])
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
    parser.add_argument('--precision', default='float32', help='of our networks: float32, bfloat16, auto')
    parser.add_argument('--peer-precision', default='float32', help='of the others, by autocast')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--networks', nargs='+', default=[*OURS, *BOTH], choices=[*OURS, *BOTH, *EXTRA])
    parser.add_argument('--compile', action='store_true', help='ours through torch.compile')
    parser.add_argument('--growth', action='store_true', help='time against size, batch and faces, ours alone')
    parser.add_argument('--floor', action='store_true', help='print operations and bytes of ours, form by form')
    parser.add_argument('--start', action='store_true', help='time importing and --help')
    parser.add_argument('--out', type=Path, help='JSON (default: benchmarks/results/inference_KIND_DEVICE.json)')
    parser.add_argument('--memory-of', help='print the seconds and the peak memory of this network alone, in GB')
    parser.add_argument('--serve', help=argparse.SUPPRESS)
    return parser.parse_args()


# Networks


def build(name: str, size: int = SIZE) -> nn.Module:
    """Build a network with random weights, in evaluation mode."""
    torch.manual_seed(0)
    name = name.removesuffix(KEPT)
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
    device, dtype = torch.device(args.device), precision_of(name, args)
    network = build(name, size).to(device)
    if name in OURS:
        return FaceNetwork(network, size, device, args.precision, 1, compile=args.compile, release=True).restore
    if name in ('MMRBGAN direct', 'MMRBGAN winograd'):
        separate_memory()
        prepared = network.prepare_for_inference(dtype, winograd=name.endswith('winograd'), release=True)
        prepared(torch.zeros(1, 3, size, size, device=device))
        keep_memory()  # as `FaceNetwork` does
        return prepared
    if name == 'MMRBGAN training form':
        network = network.to(memory_format=torch.channels_last)
    arguments = {'randomize_noise': False} if name.startswith('GFPGAN') else {}
    if name.endswith(KEPT):
        keep_memory()

    def run(x: Tensor) -> Any:
        with torch.autocast(device.type, dtype, enabled=dtype is not torch.float32):
            return network(x, **arguments)

    return run


def precision_of(name: str, args: argparse.Namespace) -> torch.dtype:
    """Return the precision in which a network runs."""
    ours = name.startswith('MMRBGAN')
    return pick_precision(args.precision if ours else args.peer_precision, torch.device(args.device))


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


def median_seconds(runs: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of every run in every round; the first round warms up and does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for i in range(rounds + 1):
        for name, run in runs.items():
            once = run()
            if i:
                seconds[name].append(once)
    return seconds


def peak_rate(dtype: torch.dtype, device: str) -> float:
    """Return the operations per second of the faster of a matrix product and a convolution, in units of 10^9.

    A convolution is oneDNN's or cuDNN's; on some CPUs it uses wider instructions than the library of the product does.
    """
    side = 8192 if device.startswith('cuda') else 2048
    one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x = torch.randn(1, 512, side // 32, side // 32, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    weight = torch.randn(512, 512, 3, 3, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    work = {
        2 * side**3: lambda: torch.mm(one, other),
        2 * weight.numel() * x[0, 0].numel(): lambda: F.conv2d(x, weight, padding=1),
    }
    for run in work.values():
        run()
    return max(operations / timed(run, device) for operations, run in work.items()) / 1e9


def peak_memory(device: str) -> float:
    """Return the most memory of this process, or of the GPU, in units of 10^9 bytes."""
    return torch.cuda.max_memory_allocated() / 1e9 if device.startswith('cuda') else peak_resident()


def peak_resident() -> float:
    """Return the most memory this program held, in GB; ru_maxrss would count what its parent held at the fork, too."""
    status = Path('/proc/self/status')
    if status.is_file():
        return float(status.read_text().split('VmHWM:')[1].split()[0]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@torch.inference_mode()
def serve(name: str, args: argparse.Namespace, given: list[str] | None = None) -> None:
    """For every batch size read, run the network once; print its seconds and the peak memory so far.

    For every precision read, print the machine's rate in it.
    """
    run = None if name == PEAK else runner(name, SIZE, args)
    for line in given or sys.stdin:
        if run is None:
            print(peak_rate(getattr(torch, line.strip()), args.device), flush=True)
            continue
        x = torch.rand(int(line), 3, SIZE, SIZE, device=args.device) * 2 - 1
        seconds = timed(lambda x=x: run(x), args.device)
        print(seconds, peak_memory(args.device), flush=True)


@contextmanager
def served(name: str, args: argparse.Namespace) -> Iterator[Callable[[str], list[float]]]:
    """Keep a network in a process of its own and yield the function that sends it one line and reads its numbers."""
    command = [sys.executable, __file__, '--serve', name, '--device', args.device, '--threads', str(args.threads)]
    command += ['--precision', args.precision, '--peer-precision', args.peer_precision]
    command += ['--compile'] * args.compile
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(line: str) -> list[float]:
            process.stdin.write(f'{line}\n')
            process.stdin.flush()
            answer = process.stdout.readline()
            if not answer:
                raise SystemExit(f'{name} ended; what it printed above says why')
            return [float(part) for part in answer.split()]

        yield ask


def measure_networks(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Time every network at every batch, print the table."""
    flop = {name: count_gflop(name, SIZE) for name in args.networks}
    types = {name: str(precision_of(name, args)).removeprefix('torch.') for name in args.networks}
    lines = []
    print(f'{described(args)}; per face of {SIZE} px, medians of {args.rounds} rounds\n')
    print(
        '| network | precision | batch | seconds | of GFPGAN | of it, kept | GFLOP | GFLOP/s | peak | of it | memory |'
    )
    print('| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |')
    with ExitStack() as stack:
        ask = {name: stack.enter_context(served(name, args)) for name in (PEAK, *args.networks)}
        memory: dict[str, float] = {}
        for batch in sorted(args.batches):
            faces, rates = measure_rounds(ask, batch, types, memory, args)
            references = [faces.get(REFERENCE), faces.get(REFERENCE + KEPT)]
            for name, values in faces.items():
                line = one_line(name, batch, values, references, flop[name], rates[types[name]])
                line |= {'precision': types[name], 'memory_gb': memory[name] if batch == min(args.batches) else None}
                lines.append(line)
                print(as_row(line), flush=True)
    return lines


def measure_rounds(
    ask: dict[str, Callable[[str], list[float]]],
    batch: int,
    types: dict[str, str],
    memory: dict[str, float],
    args: argparse.Namespace,
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the seconds per face of every network, and the machine's rate by precision; note the peak memory."""

    def run(name: str) -> float:
        seconds, memory[name] = ask[name](str(batch))
        return seconds / batch

    runs = {dtype: lambda dtype=dtype: ask[PEAK](dtype)[0] for dtype in sorted(set(types.values()))}
    runs |= {name: lambda name=name: run(name) for name in types}
    if args.compile:
        first = {name: runs[name]() * batch for name in types if name in OURS}
        print(*(f'{name}: first batch of {batch} in {one:.1f} s' for name, one in first.items()), sep='; ')
    found = median_seconds(runs, args.rounds)
    return {name: found[name] for name in types}, {dtype: max(found[dtype]) for dtype in set(types.values())}


def one_line(
    name: str, batch: int, seconds: list[float], references: list[list[float] | None], gflop: float, peak: float
) -> dict[str, Any]:
    """Return one line of the table; the ratios are medians of the ratios round by round."""
    median = statistics.median(seconds)
    ratios = [
        statistics.median(one / other for one, other in zip(seconds, reference, strict=True)) if reference else None
        for reference in references
    ]
    return {
        'network': name,
        'batch': batch,
        'seconds': median,
        'fastest': min(seconds),
        'slowest': max(seconds),
        'of_gfpgan': ratios[0],
        'of_gfpgan_kept': ratios[1],
        'gflop': gflop,
        'gflop_per_s': gflop / median,
        'peak_gflop_per_s': peak,
        'share': gflop / median / peak,
    }


def as_row(line: dict[str, Any]) -> str:
    """Return a line as Markdown."""
    ratios = ['' if line[key] is None else f'{line[key]:.2f}' for key in ('of_gfpgan', 'of_gfpgan_kept')]
    memory = '' if line['memory_gb'] is None else f'{line["memory_gb"]:.2f} GB'
    return (
        f'| {line["network"]} | {line["precision"]} | {line["batch"]} | {line["seconds"]:.4g} | {" | ".join(ratios)} | '
        f'{line["gflop"]:.0f} | {line["gflop_per_s"]:.0f} | {line["peak_gflop_per_s"]:.0f} | {line["share"]:.0%} | '
        f'{memory} |'
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
    once = {'': lambda: timed(lambda: run(given), args.device)}
    seconds = statistics.median(median_seconds(once, args.rounds)[''])
    found[kind].setdefault(name, []).append([value, seconds])
    print(f'| {name} | {kind} {value} | {seconds:.4g} | {seconds / count:.4g} |', flush=True)


def show_floor() -> None:
    """Print what has to be computed and moved: operations, weights, and the maps each convolution reads and writes."""
    print(f'| network at {SIZE} px | form | GFLOP | weights, GB | maps read and written, GB |')
    print('| --- | --- | ---: | ---: | ---: |')
    for name in OURS:
        network = build(name)
        forms = {
            'as the paper writes it': network,
            'direct': network.prepare_for_inference(torch.float32, winograd=False),
            "Winograd's convolutions": network.prepare_for_inference(torch.float32, winograd=True),
        }
        for form, module in forms.items():
            weights = sum(value.numel() * 4 for value in module.state_dict().values())
            module.to('meta')
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
    run = functools.partial(subprocess.run, check=True)
    inside = 'import time; t = time.perf_counter(); import mmrbgan; print(time.perf_counter() - t)'
    imports = [run([sys.executable, '-c', inside], capture_output=True, text=True) for _ in range(5)]
    print(f'import mmrbgan: {min(float(done.stdout) for done in imports):.3f} s')
    for title, command in (('mmrbgan --help', ['-m', 'mmrbgan.cli', '--help']), ('python itself', ['-c', 'pass'])):
        whole = [sys.executable, *command]
        least = min(timed(lambda whole=whole: run(whole, capture_output=True), '') for _ in range(5))
        print(f'{title}: {least:.3f} s')


def described(args: argparse.Namespace) -> str:
    """Say where this was measured."""
    place = torch.cuda.get_device_name() if args.device.startswith('cuda') else f'CPU, {args.threads} threads'
    precision = str(precision_of('MMRBGAN', args)).removeprefix('torch.')  # in the tables it is a column
    place += f', {precision}' * args.growth
    return f'{place}, torch {torch.__version__.split("+")[0]}{", compiled" if args.compile else ""}'


def write(args: argparse.Namespace, kind: str, content: Any) -> None:
    """Write the JSON."""
    path = args.out or RESULTS / f'inference_{kind}_{args.device.replace(":", "")}.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({'where': described(args), kind: content}, indent=1) + '\n', encoding='utf-8')


if __name__ == '__main__':
    main()
