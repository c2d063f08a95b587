"""What the checks of option files let through: seeded mutations of every key of every file in options/, each run.

Sizes and paths of each file are first made so small that a run takes a fraction of a second. A mutation (another type,
null, nan, inf, negative, huge, empty, a path, a key removed, misspelt or added) then goes through the real
`basicsr train` or `test` in a forked child, which ends after its first step, validation included. It must be refused in
one line that leaves nothing behind, or run; what ran is listed for a reader, who should find no nonsense.

    python benchmarks/fuzz_options.py [--count 3000] [--seed 0] [--only PLACE] [--file NAME] [--shards 2]
"""

import argparse
import copy
import dataclasses
import datetime
import functools
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'tests'))
LIMIT = 300.0  # seconds after which a run counts as hanging
MEMORY = 6 * 2**30  # bytes that a run may take beside what it inherits
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 1000, 0.5, -0.5, 1.5, 1e-30, 1e30, 2**31, 2**63, 10**30,
    float('nan'), float('inf'), float('-inf'), '', ' ', 'nonsense', 'true', '12', '1e-3x', '../../../x', '/', '.',
    'a/b', 'ü', 'two\nlines', 'nul\0', '(', 'x' * 300, datetime.date(2020, 1, 1),
    [], [1], [2, 1], [None], [float('nan'), 1], [0, float('inf')], [-1, 1], ['a'], [[1]], [1] * 1000,
    {}, {'a': 1}, {'type': 'nonsense'}, {1: 2}, {'type': None}, {'type': ['L1Loss']},
)  # fmt: skip
REMOVE, MISSPELL = object(), object()


class Case(NamedTuple):
    """One mutation: the file, the place, what was there and what is there now, and whether --force_yml sets it."""

    file: str
    place: tuple[str, ...]
    old: Any
    new: Any
    forced: bool = False

    def __str__(self) -> str:
        return f'{":".join(self.place)}: {shown(self.old)} -> {shown(self.new)}'


class Result(NamedTuple):
    """How a run ended: refused, accepted, traceback, hang, left files behind, or another way; its last words."""

    outcome: str
    words: str
    seconds: float


def shown(value: Any) -> str:
    """Return a value as a short text."""
    special = {id(REMOVE): '(removed)', id(MISSPELL): '(misspelt)'}
    text = special.get(id(value)) or repr(value)
    return text if len(text) <= 60 else f'{text[:45]}... ({len(text)} characters)'


def make_data(home: Path) -> None:
    """Put faces, pairs and weights of every network that is trained or tested into ``home``."""
    import tiny_run
    from basicsr.archs.srvgg_arch import SRVGGNetCompact

    from mmrbgan_arch import MMRBGAN
    from mmrbgan_arch.identity_arch import MMRBGANMobileFaceNet
    from mmrbgan_model.perceptual import FeatureMaps

    torch.manual_seed(0)
    tiny_run.make_faces(home / 'faces', 3)
    shutil.copytree(home / 'faces', home / 'pairs', ignore=lambda *_: ['landmarks.csv'])
    made: dict[str, torch.nn.Module] = {
        'perceptual': FeatureMaps('mobilenet_v2').network,
        'identity': MMRBGANMobileFaceNet(),
        'peer': SRVGGNetCompact(num_feat=4, num_conv=1, upscale=1),
    }
    for name in ('g', 'g_plain'):
        made[name] = MMRBGAN(**TINY['MMRBGAN'], use_mmrb=name == 'g')
    for name, network in made.items():
        state = network.state_dict()
        torch.save({'params': state, 'params_ema': state} if name[0] == 'g' else state, home / f'{name}.pth')


TINY: dict[str, dict[str, Any]] = {
    'MMRBGAN': {'out_size': 64, 'style_dim': 16, 'num_mlp': 2, 'narrow': 1 / 32},
    'MMRBGANDiscriminator': {'out_size': 64, 'narrow': 1 / 32, 'freeze_layers': 1},
    'MMRBGANComponentDiscriminator': {'num_feat': 4},
}


def tiny(options: dict[str, Any], home: Path) -> dict[str, Any]:
    """Return an option file's content with all its keys and a run of a fraction of a second."""
    options = copy.deepcopy(options) | {'num_gpu': 0}
    for key in [key for key in options if key.startswith('network_')]:
        options[key].update(TINY.get(options[key]['type'], {}))
    for section in options['datasets'].values():
        pictures = home / ('pairs' if section['type'] == 'PairedImageDataset' else 'faces')
        section.update({key: str(pictures) for key in section if key.startswith('dataroot')})
        section.update({key: 64 for key in section if key in ('image_size', 'gt_size')})
        section.update({key: 2 for key in section if key == 'batch_size_per_gpu'})
        section.update({key: 0 for key in section if key == 'num_worker_per_gpu'})
        section.update({key: 2 for key in section if key == 'max_images'})
    if options['network_g']['type'] == 'SpandrelNet':
        options['network_g']['weights'] = str(home / 'peer.pth')
    if 'network_identity' in options:
        options['network_identity']['type'] = 'MMRBGANMobileFaceNet'
    weights = home / ('g.pth' if options['network_g'].get('use_mmrb', True) else 'g_plain.pth')
    for key, value in (options.get('path') or {}).items():
        if key.startswith('pretrain_network_') and value:
            options['path'][key] = str(weights)
    if 'train' in options:
        _shorten(options, home)
    return options


def _shorten(options: dict[str, Any], home: Path) -> None:
    train = options['train']
    train['total_iter'] = 2
    if 'perceptual_opt' in train:
        train['perceptual_opt'].update(network='mobilenet_v2', weights=str(home / 'perceptual.pth'))
    if 'identity_opt' in train:
        train['identity_opt']['weights'] = str(home / 'identity.pth')
    for term in (value for value in train.values() if isinstance(value, dict) and 'start' in value):
        term['start'] = 1
    options['val']['val_freq'] = 1
    options['logger'].update(print_freq=1, save_checkpoint_freq=1)
    if 'pretrain_network_d' in (options.get('path') or {}):
        options['path']['pretrain_network_d'] = None


def files(home: Path) -> dict[str, dict[str, Any]]:
    """Return name -> content, made tiny, of every option file that ships."""
    from mmrbgan.running.options import option_files, run_yml

    return {name: tiny(run_yml.load_yml(option_files.packaged(name)), home) for name in option_files.names()}


def places(content: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the place of every key."""
    for key, value in content.items() if isinstance(content, dict) else ():
        yield (*place, key)
        yield from places(value, (*place, key))


def at(content: Any, place: tuple[str, ...]) -> Any:
    """Return what stands at ``place``."""
    for key in place:
        content = content[key]
    return content


def draw_cases(contents: dict[str, dict[str, Any]], count: int, seed: int) -> list[Case]:
    """Draw ``count`` mutations; every key of every file has as many as every other, give or take one."""
    dice = random.Random(seed)
    found: dict[str, list[Case]] = {}
    for file, content in contents.items():
        for place in places(content):
            cases = list(mutations(file, content, place))
            dice.shuffle(cases)
            found[f'{file}:{":".join(place)}'] = cases
    keys, chosen = list(found), []
    while len(chosen) < count and any(found.values()):
        dice.shuffle(keys)
        chosen += [found[key].pop() for key in keys if found[key]]
    chosen = chosen[:count]
    return [case._replace(forced=_can_force(case) and dice.random() < 0.25) for case in chosen]


def mutations(file: str, content: dict[str, Any], place: tuple[str, ...]) -> Iterator[Case]:
    """Yield every mutation of one key, and what it might be beside it."""
    old = at(content, place)
    for new in (*VALUES, REMOVE, MISSPELL, *_near(old)):
        if new is REMOVE or new is MISSPELL or type(new) is not type(old) or new != old:
            yield Case(file, place, old, new)
    if isinstance(old, dict):
        for key in _absent_keys(place, old):
            for new in VALUES:
                yield Case(file, (*place, key), REMOVE, new)


def _near(old: Any) -> tuple[Any, ...]:
    if isinstance(old, bool) or old is None:
        return ()
    if isinstance(old, int | float):
        return -old, old * 2, old + 1, old * 1000, old / 2, str(old), [old]
    if isinstance(old, list):
        return old[::-1], old[:-1], [*old, *old[-1:]], [None, *old[1:]], [-1, *old[1:]], [*old[:-1], 1e9], old * 100
    if isinstance(old, str):
        return old.upper(), f'{old} ', f'{old}x', f' {old}', [old], f'~{old}'
    return (dict.fromkeys(old), list(old), str(old), {**old, 'nonsense': 1})


def _absent_keys(place: tuple[str, ...], section: dict[str, Any]) -> list[str]:
    """Return the keys that a description has for a section and this file does not name."""
    from mmrbgan.running.options import sections
    from mmrbgan_data.degradation import DegradationOptions
    from mmrbgan_model.options import PerceptualTerm, TrainOptions

    kind = section.get('type')
    described: Any = {'train': TrainOptions, 'val': sections.ValOptions, 'logger': sections.LoggerOptions}.get(place[0])
    if place == ('path',):
        known = ['resume_state', 'param_key_g', 'strict_load_g', 'pretrain_network_d', 'ignore_resume_networks']
    elif len(place) == 1 and described:
        known = [field.name for field in dataclasses.fields(described)]
    elif place[-1] == 'degradation':
        known = [field.name for field in dataclasses.fields(DegradationOptions)]
    elif place[-1] == 'perceptual_opt':
        known = [field.name for field in dataclasses.fields(PerceptualTerm)]
    else:
        known = list(_described_types().get(kind or '', {}).get('properties', {}))
    return [key for key in known if key not in section]


@functools.cache
def _described_types() -> dict[str, Any]:
    from mmrbgan.running.options import schema

    return {**schema.networks(), **schema.datasets(), **schema.metrics()}


def _can_force(case: Case) -> bool:
    plain = isinstance(case.new, str | int | float | list | None) and not isinstance(case.new, bool)
    return plain and '\0' not in str(case.new) and len(str(case.new)) < 100


def mutated(content: dict[str, Any], case: Case) -> tuple[str, list[str]]:
    """Return the text of the file and the flags of the command."""
    content = json.loads(json.dumps(content))
    if case.forced:
        value = 'none' if case.new is None else yaml.safe_dump(case.new, default_flow_style=True).removesuffix('...\n')
        return yaml.safe_dump(content), ['--force_yml', f'{":".join(case.place)}={value.strip()}']
    section, key = at(content, case.place[:-1]), case.place[-1]
    if case.new is REMOVE:
        del section[key]
    elif case.new is MISSPELL:
        section[f'{key[:-1]}_{key[-1]}'] = section.pop(key)
    else:
        section[key] = case.new
    return yaml.safe_dump(content, allow_unicode=True), []


def attempt(case: Case, content: dict[str, Any], home: Path) -> Result:
    """Run one mutation in a child and say how it ended."""
    top = Path(tempfile.mkdtemp(dir=home))
    folder = top / 'a/b/c/d'
    folder.mkdir(parents=True)
    text, flags = mutated(content, case)
    (folder / 'run.yml').write_text(text, encoding='utf-8')
    began = time.monotonic()
    child = os.fork()
    if not child:
        _run(folder, ['train' if 'train' in content else 'test', '-opt', 'run.yml', *flags], top / 'output')
    status = _wait(child)
    took = time.monotonic() - began
    output = (top / 'output').read_text(encoding='utf-8', errors='replace')
    found = {str(path.relative_to(top)) for path in top.rglob('*') if path.is_file()}
    shutil.rmtree(top)
    outcome, words = _judge(status, output, found)
    return Result(outcome, words, took)


def _judge(status: int | None, output: str, found: set[str]) -> tuple[str, str]:
    lines = [line for line in output.splitlines() if line.strip()] or ['']
    others = {path for path in found if path not in ('a/b/c/d/run.yml', 'output')}
    if status is None:
        return 'hang', lines[-1]
    if 'Traceback' in output:
        return 'traceback', lines[-1]
    if any(not path.startswith('a/b/c/d/') for path in others):
        return 'wrote outside', ' '.join(sorted(others)[:3])
    if status == 2 and lines[-1].startswith('error: '):
        return ('left behind', f'{lines[-1]} [{min(others)}]') if others else ('refused', lines[-1])
    return ('accepted', '') if status == 0 else ('other', f'status {status}: {lines[-1]}')


def _run(folder: Path, arguments: list[str], output: Path) -> None:
    """In the child: the command, with its words in a file and a request to stop after the first step."""
    status = 99
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT, 0o644)
        for stream in (1, 2):
            os.dup2(handle, stream)
        inherited = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (inherited + MEMORY,) * 2)
        from mmrbgan.running.runner import main

        status = main(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int) -> int | None:
    """Return the status of ``child``, None if it was still running at the limit; its workers end with it."""
    end, status = time.monotonic() + LIMIT, None
    while time.monotonic() < end:
        found, code = os.waitpid(child, os.WNOHANG)
        if found:
            status = os.waitstatus_to_exitcode(code)
            break
        time.sleep(0.005)
    try:
        os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
    except ProcessLookupError:
        pass
    return status


def stop_after_the_first_step() -> None:
    """Let every model ask for the end of its run, as SIGTERM does, after one step; compiling takes too long."""
    from basicsr.models.sr_model import SRModel

    from mmrbgan_model.mmrbgan_model import MMRBGANModel

    for model in (MMRBGANModel, SRModel):
        step = model.optimize_parameters

        def once(self: Any, iteration: int, step: Any = step) -> None:
            step(self, iteration)
            os.kill(os.getpid(), signal.SIGTERM)

        model.optimize_parameters = once
    torch.nn.Module.compile = lambda self, *_, **__: None  # type: ignore[method-assign]


def prepare(home: Path) -> dict[str, dict[str, Any]]:
    """Import everything, keep away from the network and the user's cache; return the tiny files."""
    os.environ.update(MMRBGAN_HOME=str(home / 'cache'), TORCH_HOME=str(home / 'torch'), CUDA_VISIBLE_DEVICES='')
    os.environ.update(dict.fromkeys(('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'), 'http://127.0.0.1:9'))
    from mmrbgan.running import runner

    torch.set_num_threads(1)
    runner.load_plugins()
    for name in ('torch.utils.tensorboard', 'mmrbgan.running.runs', 'spandrel'):
        importlib.import_module(name)

    make_data(home)
    stop_after_the_first_step()
    return files(home)


def run_all(cases: list[Case], contents: dict[str, dict[str, Any]], home: Path, shards: int) -> list[Result]:
    """Run all cases, in as many processes as ``shards``."""
    children = []
    for shard in range(shards):
        child = os.fork()
        if not child:
            results = [_told(case, attempt(case, contents[case.file], home)) for case in cases[shard::shards]]
            (home / f'{shard}.json').write_text(json.dumps(results))
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    found: list[Any] = [None] * len(cases)
    for shard in range(shards):
        found[shard::shards] = [Result(*one) for one in json.loads((home / f'{shard}.json').read_text())]
    return found


def _told(case: Case, result: Result) -> Result:
    """Show at once what was not refused; the report comes at the end."""
    if result.outcome != 'refused':
        sys.stderr.write(f'{result.outcome}: {case.file} {case}{" (forced)" * case.forced}: {result.words[:300]}\n')
    return result


def report(cases: list[Case], results: list[Result], home: Path) -> None:
    """Print counts, what must not be, and what was accepted, one line for equal mutations of several files."""
    counts = Counter(result.outcome for result in results)
    print(f'{len(cases)} mutations of {len({case.file for case in cases})} files:', end=' ')
    print(', '.join(f'{counts[name]} {name}' for name in ('refused', 'accepted', 'traceback', 'hang')), end=', ')
    print(', '.join(f'{counts[name]} {name}' for name in ('left behind', 'wrote outside', 'other')))
    print(f'longest run: {max(result.seconds for result in results):.1f} s')
    for case, result in zip(cases, results, strict=True):
        if result.outcome not in ('refused', 'accepted'):
            print(f'{result.outcome}: {case.file} {case}{" (forced)" if case.forced else ""}: {result.words[:300]}')
    accepted = defaultdict(int)
    for case, result in zip(cases, results, strict=True):
        if result.outcome == 'accepted':
            accepted[str(case).replace(str(home), '')] += 1
    print(f'\naccepted, {len(accepted)} different ones:')
    for line, times in sorted(accepted.items()):
        print(f'  {line}' + (f' (x{times})' if times > 1 else ''))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--count', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', default='', help='a part of the places to mutate')
    parser.add_argument('--file', action='append', help='a file to mutate, without .yml; default: all')
    parser.add_argument('--shards', type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        contents = {name: content for name, content in prepare(home).items() if name in (args.file or [name])}
        same = [Case(file, ('name',), 0, content['name']) for file, content in contents.items()]
        cases = draw_cases(contents, 10**6 if args.only else args.count, args.seed)
        cases = [case for case in cases if args.only in ':'.join(case.place)][: args.count]
        results = run_all([*same, *cases], contents, home, args.shards)
        broken = [(case.file, one) for case, one in zip(same, results, strict=False) if one.outcome != 'accepted']
        assert not broken, broken
        print(f'{len(same)} option files run unchanged')
        report(cases, results[len(same) :], home)


if __name__ == '__main__':
    main()
