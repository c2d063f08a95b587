"""Groups of people in a set, by a table or by their file names, and the parts of a set that they make."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmrbgan_arch.support.errors import UsageError

UNKNOWN = 'unknown'


@dataclass(frozen=True)
class Grouping:
    """One way to divide a set, such as by group of people or by sex.

    Attributes:
        name: heading of its tables.
        known: a face's name -> its group.
    """

    name: str
    known: Mapping[str, str]

    def masks(self, names: Sequence[str]) -> list[tuple[str, np.ndarray]]:
        """Return (group, bool mask (n,)) of every group that has a face; faces of no group come last."""
        found = np.array([self.known.get(name, UNKNOWN) for name in names])
        labels = sorted(set(found.tolist()), key=lambda label: (label == UNKNOWN, label))
        return [(label, found == label) for label in labels]


def find_groups(by: str | None, names: Sequence[str]) -> list[Grouping]:
    """Return the groupings of ``--by``.

    Args:
        by: a table whose first column names files and whose other columns, by their headings, each a grouping; or a
            regular expression whose parts in parentheses do so: ``^me_(?P<group>[a-z]+)_(?P<sex>[a-z]+)_``.
        names: the faces', without suffix.

    Raises:
        UsageError: a table that is none, an expression that is none, or one that knows none of the faces.
    """
    if by is None:
        return []
    is_table = by.endswith('.csv') or Path(by).is_file()
    groupings = _from_table(Path(by)) if is_table else _from_names(by, names)
    for grouping in groupings:
        if not any(name in grouping.known for name in names):
            raise UsageError(f'--by {by}: knows no group of any of the {len(names)} faces, as {names[0]!r}')
    return groupings


def _from_table(path: Path) -> list[Grouping]:
    try:
        rows = list(csv.reader(path.read_text(encoding='utf-8').splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f'--by {path}: not a table ({error})') from error
    if not rows or len(rows[0]) < 2 or any(len(row) != len(rows[0]) for row in rows if row):
        raise UsageError(f'--by {path}: expected lines such as `file,group` and `face1.png,asian`, all of one length')
    lines = [(str(Path(row[0]).with_suffix('')), row) for row in rows[1:] if row]
    headings = list(enumerate(rows[0]))[1:]
    return [Grouping(name, {stem: row[column] for stem, row in lines}) for column, name in headings]


def _from_names(pattern: str, names: Sequence[str]) -> list[Grouping]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f'--by {pattern}: neither a file nor a regular expression ({error})') from error
    if not compiled.groups:
        raise UsageError(f"--by {pattern}: has no part in parentheses, such as '^me_([a-z]+)_'")
    headings = {number: name for name, number in compiled.groupindex.items()}
    matches = {name: match for name in names if (match := compiled.search(name))}
    return [
        Grouping(
            headings.get(number, 'group' if number == 1 else f'group {number}'),
            {name: match[number] for name, match in matches.items() if match[number] is not None},
        )
        for number in range(1, compiled.groups + 1)
    ]
