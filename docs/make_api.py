"""Writes docs/api.md from the docstrings of what users import. Run it again when one changes; a test compares."""

import ast
import inspect
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PUBLIC = {
    'mmrbgan': {
        'mmrbgan/restoring/restorer.py': ['Restorer'],
        'mmrbgan/restoring/settings.py': ['Settings'],
        'mmrbgan/restoring/results.py': ['RestoredPhoto', 'Face'],
    },
    'mmrbgan.gfpganer': {'mmrbgan/bridges/gfpgan_api.py': ['GFPGANer']},
    'mmrbgan.spandrel_support': {'mmrbgan/bridges/spandrel_loader.py': ['register']},
    'mmrbgan_arch': {
        'mmrbgan_arch/weights_io.py': ['load_network'],
        'mmrbgan_arch/mmrbgan_arch.py': ['MMRBGAN'],
        'mmrbgan_arch/mmrb_arch.py': ['MMRB'],
        'mmrbgan_arch/discriminator_arch.py': ['MMRBGANDiscriminator', 'MMRBGANComponentDiscriminator'],
        'mmrbgan_arch/identity_arch.py': ['MMRBGANArcFace', 'MMRBGANMobileFaceNet'],
    },
    'mmrbgan_arch.basicsr_bridge': {
        'mmrbgan_arch/basicsr_bridge.py': ['connect', 'register_arch', 'register_dataset', 'register_metric']
    },
    'mmrbgan_data.degradation': {'data/degradation.py': ['DegradationOptions', 'draw_degradation', 'degrade']},
    'mmrbgan_data.detection': {
        'data/detection.py': ['make_detector', 'CenterFaceDetector'],
        'data/detected_face.py': ['DetectedFace'],
    },
    'mmrbgan_model.metrics': {
        'mmrbgan_model/metrics/psnr_ssim.py': ['psnr', 'ssim'],
        'mmrbgan_model/metrics/lpips_distance.py': ['lpips'],
        'mmrbgan_model/metrics/niqe.py': ['niqe'],
        'mmrbgan_model/metrics/ifqa.py': ['ifqa'],
        'mmrbgan_model/metrics/identity.py': ['identity'],
        'mmrbgan_model/metrics/landmark_distance.py': ['landmark_distance'],
        'mmrbgan_model/metrics/fid.py': ['FID', 'FIDOptions'],
    },
}
ALIASES = {'Side': 'int', 'Multiplier': 'int', 'Narrow': 'float', 'Blocks': 'int'}
HEAD = """# Public functions and classes

Made from their docstrings by `python docs/make_api.py`; what is not listed may change without notice. Shapes are
`(batch, channels, height, width)` for tensors, `(height, width, channels)` for pictures.
"""


def main() -> None:
    """Write the page."""
    (ROOT / 'docs/api.md').write_text(page(), encoding='utf-8')


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for module, files in PUBLIC.items():
        parts.append(f'\n## {module}\n')
        for file, names in files.items():
            tree = ast.parse((ROOT / file).read_text(encoding='utf-8'))
            found = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
            parts += [entry(found[name]) for name in names]
    return ''.join(parts)


def entry(node: ast.ClassDef | ast.FunctionDef, inside: str = '') -> str:
    """Return one function, or one class with its public methods."""
    if isinstance(node, ast.FunctionDef):
        return f'\n### `{inside}{node.name}`\n\n{signature(node, inside)}{text(node)}'
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    start = next((method for method in methods if method.name == '__init__'), None)
    shown = [method for method in methods if not method.name.startswith('_')]
    head = f'\n### `{node.name}`\n\n' + (signature(start, node.name) if start else '') + text(node)
    described = text(start) if start else ''
    return head + described + ''.join(entry(method, f'{node.name}.') for method in shown)


def signature(node: ast.FunctionDef, inside: str) -> str:
    """Return the signature as a block of code, one argument a line where it is long."""
    arguments = ast.unparse(node.args).removeprefix('self, ').removeprefix('self').removeprefix('cls, ')
    name = inside if node.name == '__init__' else f'{inside}{node.name}'
    arguments = re.sub(r'Annotated\[(\w+), \w+\([^)]*\)\]', r'\1', arguments)  # ranges stand in docs/options.md
    for alias, plain in ALIASES.items():
        arguments = re.sub(rf'\b{alias}\b', plain, arguments)
    returns = f' -> {ast.unparse(node.returns)}' if node.returns and node.name != '__init__' else ''
    return f'```python\n{name}({arguments}){returns}\n```\n\n'


def text(node: ast.ClassDef | ast.FunctionDef) -> str:
    """Return the docstring; the lists of arguments keep their lines."""
    lines, out = inspect.cleandoc(ast.get_docstring(node) or '').split('\n'), []
    for line in lines:
        if line in ('Args:', 'Attributes:', 'Raises:', 'Returns:', 'Yields:'):
            out.append(f'**{line[:-1]}**\n')
        elif line.startswith(' ' * 8):  # a longer description goes on
            out.append(f'  {line.strip()}')
        elif line.startswith(' ' * 4) and ': ' in line:
            name, _, rest = line.strip().partition(': ')
            out.append(f'- `{name}`: {rest}')
        else:
            out.append(line.strip())
    if isinstance(node, ast.ClassDef) and (fields := field_texts(node)):
        out += ['', '**Attributes**\n', *fields]
    body = '\n'.join(out).strip()
    return f'{body}\n' if body else ''


def field_texts(node: ast.ClassDef) -> list[str]:
    """Return a line for each field of a dataclass that has a text below it."""
    return [
        f'- `{ast.unparse(field.target)}`: {" ".join(str(below.value.value).split())}'
        for field, below in zip(node.body, node.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
    ]


if __name__ == '__main__':
    main()
