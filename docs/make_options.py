"""Writes docs/options.md and options/schema.json from the options' descriptions in the code.

Run it again when an option changes (`python docs/make_options.py`); a test compares.
"""

import json
from pathlib import Path
from typing import Any

import mmrbgan.plugin  # noqa: F401 # registers everything that has options
from mmrbgan.running.options import schema
from mmrbgan.running.options.basicsr_sections import SRTrainOptions
from mmrbgan.running.options.sections import LoggerOptions, ProcessOptions, RunOptions, ValOptions
from mmrbgan_model.options import TrainOptions

ROOT = Path(__file__).parents[1]
HEAD = """# Options

Made from their descriptions in the code by `python docs/make_options.py`. An option file is YAML; `1e-4` is a number
and numbers are finite. Unknown keys are errors. The first line of each file in `options/` names
`options/schema.json`, by which editors with a YAML language server complete keys, show these texts and mark mistakes.
A key without default is needed where its section is.
"""


def main() -> None:
    """Write both files."""
    (ROOT / 'docs/options.md').write_text(page(), encoding='utf-8')
    (ROOT / 'options/schema.json').write_text(schema_text(), encoding='utf-8')


def schema_text() -> str:
    """Return the schema as it is kept."""
    return json.dumps(schema.make_schema(), indent=1, ensure_ascii=False) + '\n'


def page() -> str:
    """Return the whole page."""
    sections: dict[str, Any] = {
        'The top of the file': schema.of_dataclass(RunOptions),
        'path': schema.of_path(),
        'train of MMRBGANModel': schema.of_dataclass(TrainOptions),
        'train of SRModel': schema.of_dataclass(SRTrainOptions),
        **{f'datasets: {name}': one for name, one in schema.datasets().items()},
        **{f'network: {name}': one for name, one in schema.networks().items()},
        'val': schema.of_dataclass(ValOptions),
        **{f'val.metrics: {name}': one for name, one in schema.metrics().items()},
        'logger': schema.of_dataclass(LoggerOptions),
        'dist_params': schema.of_dataclass(ProcessOptions),
    }
    return HEAD + ''.join(f'\n## {title}\n\n{table(one)}' for title, one in sections.items())


def table(section: dict[str, Any]) -> str:
    """Return a section's keys, those of the sections in it below their names."""
    lines = ['| key | values | default | meaning |', '| --- | --- | --- | --- |', *rows(section, '')]
    return '\n'.join(lines) + '\n'


def rows(section: dict[str, Any], prefix: str) -> list[str]:
    """Return one line a key."""
    found = []
    patterns = {key.strip('^') + 'X': one for key, one in section.get('patternProperties', {}).items()}
    for key, one in {**section['properties'], **patterns}.items():
        inner = inside(one)
        text = one.get('description', '').replace('``', '`').replace('|', '\\|')
        needed = key in section.get('required', ()) and 'const' not in one
        default = 'needed' if needed else f'`{json.dumps(one["default"])}`' if 'default' in one else ''
        found.append(f'| `{prefix}{key}` | {"section" if inner else values(one)} | {default} | {text} |')
        found += rows(inner, f'{prefix}{key}.') if inner else []
    return found


def inside(one: dict[str, Any]) -> dict[str, Any] | None:
    """Return the section that a key holds, if it holds one."""
    choices = [one, *one.get('anyOf', ())]
    return next((choice for choice in choices if 'properties' in choice), None)


def values(one: dict[str, Any]) -> str:
    """Return what a key may be, in few words."""
    if 'anyOf' in one:
        return ' or '.join(values(choice) for choice in one['anyOf'])
    if 'const' in one or 'enum' in one:
        return ', '.join(f'`{value}`' for value in one.get('enum', [one.get('const')]))
    if 'prefixItems' in one:
        return f'list of {len(one["prefixItems"])}: {values(one["prefixItems"][0])}'
    if 'items' in one:
        return f'list: {values(one["items"])}'
    kinds = one.get('type', 'anything')
    names = ' or '.join(kinds if isinstance(kinds, list) else [kinds])
    low = [f'{sign} {one[key]:g}' for sign, key in (('>=', 'minimum'), ('>', 'exclusiveMinimum')) if key in one]
    high = [
        f'{sign} {one[key]:g}'
        for sign, key in (('<=', 'maximum'), ('<', 'exclusiveMaximum'))
        if one.get(key, 1e9) < 1e9
    ]
    return ', '.join([names, *low, *high])


if __name__ == '__main__':
    main()
