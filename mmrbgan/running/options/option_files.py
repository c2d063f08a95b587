"""The option files that ship: the checkout's options/, which the wheel holds as mmrbgan/option_files."""

from pathlib import Path

from mmrbgan_arch.support.errors import UsageError, nearest_key

SCHEMA = '# yaml-language-server: $schema='  # the first line of each, for editors
PACKAGE = Path(__file__).parents[2]
ENDING = '.yml'


def names() -> list[str]:
    """Return the names of all of them, without .yml: train_mmrbgan_quick, ablation/no_mmrb, ..."""
    folder = _folder()
    return sorted(path.relative_to(folder).with_suffix('').as_posix() for path in folder.rglob(f'*{ENDING}'))


def packaged(name: str) -> Path:
    """Return the path of the file called ``name``, with or without .yml.

    Raises:
        UsageError: no file that ships has that name.
    """
    plain = name.removesuffix(ENDING)
    if plain not in names():
        hint = nearest_key(plain, names()).replace('unknown key', 'no option file that ships is called')
        raise UsageError(hint.replace('known keys', 'there are'))
    return _folder() / f'{plain}{ENDING}'


def find(given: str | Path) -> Path:
    """Return the option file that -opt names: the user's own path, else the one of that name that ships."""
    path = Path(given).expanduser()
    plain = path.as_posix().removesuffix(ENDING)
    return packaged(plain) if not path.exists() and plain in names() else path


def to_edit(name: str) -> str:
    """Return the text of a file that ships for a copy anywhere: its first line names the schema by its whole path."""
    text = packaged(name).read_text(encoding='utf-8')
    first, _, rest = text.partition('\n')
    return f'{SCHEMA}{(_folder() / "schema.json").as_uri()}\n{rest}' if first.startswith(SCHEMA) else text


def purpose(name: str) -> str:
    """Return what a file that ships is for, as its header says."""
    lines = packaged(name).read_text(encoding='utf-8').splitlines()
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('# Purpose')), '')


def _folder() -> Path:
    in_the_wheel = PACKAGE / 'option_files'
    return in_the_wheel if in_the_wheel.is_dir() else PACKAGE.parent / 'options'
