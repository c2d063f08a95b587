"""The layout of the packages (docs/architecture.md): imports run downwards, rooms stay small, names are told apart."""

import ast
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = (  # a file imports from its own room and from those below
    'mmrbgan',
    'mmrbgan.commands',
    'mmrbgan.report',
    'mmrbgan.bridges',
    'mmrbgan.evaluation',
    'mmrbgan.running',
    'mmrbgan.restoring.film',
    'mmrbgan.running.options',
    'mmrbgan.restoring',
    'mmrbgan.restoring.files',
    'mmrbgan_model',
    'mmrbgan_model.metrics',
    'mmrbgan_model.checkpoints',
    'mmrbgan_data.prepare',
    'mmrbgan_data.datasets',
    'mmrbgan_data.drawn',
    'mmrbgan_data',
    'mmrbgan_arch.inference',
    'mmrbgan_arch',
    'mmrbgan_arch.support',
)
UPWARDS = {('mmrbgan_arch.mmrbgan_arch', 'mmrbgan_arch.inference')}  # MMRBGAN.prepare_for_inference, imported late
PACKAGES = {
    'mmrbgan': 'mmrbgan',
    'mmrbgan_model': 'mmrbgan_model',
    'mmrbgan_data': 'data',
    'mmrbgan_arch': 'mmrbgan_arch',
}
MOST_FILES = 16


def module_files(root: Path = ROOT) -> dict[str, Path]:
    """Every module's full name -> its file."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted((root / folder).rglob('*.py')):
            parts = path.relative_to(root / folder).with_suffix('').parts
            found['.'.join([package, *parts]).removesuffix('.__init__')] = path
    return found


def room_of(module: str, files: dict[str, Path]) -> str:
    return module if files[module].name == '__init__.py' else module.rpartition('.')[0]


def imports_of(module: str, files: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of ours that ``module`` imports, at once or late."""
    here = room_of(module, files).split('.')
    for node in ast.walk(ast.parse(files[module].read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level + 1] if node.level else []
            base = '.'.join([*above, *([node.module] if node.module else [])])
            for name in (f'{base}.{alias.name}' for alias in node.names):
                yield from (found for found in (name if name in files else base,) if found in files)


def faults(files: dict[str, Path]) -> list[str]:
    """Say which imports run upwards."""
    found = []
    for module in files:
        for other in imports_of(module, files):
            rooms = room_of(module, files), room_of(other, files)
            upwards = ROOMS.index(rooms[0]) > ROOMS.index(rooms[1])
            if upwards and (module, rooms[1]) not in UPWARDS:
                found.append(f'{module} imports {other}')
    return found


def test_imports_run_downwards_between_rooms():
    assert faults(module_files()) == []


def test_an_import_that_runs_upwards_is_found(tmp_path):
    files = module_files()
    (tmp_path / 'layers.py').write_text('def late():\n    from mmrbgan_data import images\n')
    assert faults(files | {'mmrbgan_arch.layers': tmp_path / 'layers.py'}) == [
        'mmrbgan_arch.layers imports mmrbgan_data.images'
    ]


def test_no_two_files_import_each_other_by_any_way_round():
    files = module_files()
    graph = {
        module: {other for other in imports_of(module, files) if (module, room_of(other, files)) not in UPWARDS}
        for module in files
        if files[module].name != '__init__.py'  # which name what they hand out
    }
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f'circle: {" <- ".join(error.args[1])}')


def test_every_room_is_known_and_has_no_more_files_than_a_person_reads():
    files = module_files()
    sizes = Counter(room_of(module, files) for module in files)
    assert set(sizes) == set(ROOMS)
    assert {room: size for room, size in sizes.items() if size > MOST_FILES} == {}


def test_a_name_is_given_once_and_test_means_test():
    names = [path.name for path in module_files().values() if path.name != '__init__.py']
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in names if name.startswith('test_')] == []
    assert list((ROOT / 'benchmarks').glob('test_*')) == []


def test_the_page_on_the_architecture_names_every_room():
    page = (ROOT / 'docs/architecture.md').read_text(encoding='utf-8')
    folders = [room.replace('mmrbgan_data', 'data').replace('.', '/') for room in ROOMS]
    assert [folder for folder in folders if f'| `{folder}/` |' not in page] == []
