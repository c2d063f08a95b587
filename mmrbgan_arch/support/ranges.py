"""What an option may be, beside its type: annotations that the option reader checks and the JSON schema repeats."""

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Range:
    """A number from ``low`` to ``high``, both allowed unless ``above`` or ``below`` says that they are not."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def fault(self, value: Any) -> str | None:
        """Say what is wrong with ``value``, or return None."""
        too_low = value <= self.low if self.above else value < self.low
        too_high = value >= self.high if self.below else value > self.high
        return f'must be {self}; found {value!r}' if too_low or too_high else None

    def __str__(self) -> str:
        low = f'{"above" if self.above else "at least"} {self.low:g}' if self.low > -math.inf else ''
        high = f'{"below" if self.below else "at most"} {self.high:g}' if self.high < math.inf else ''
        return ' and '.join(filter(None, (low, high)))

    def schema(self) -> dict[str, Any]:
        """Return JSON schema's words for it."""
        low = {'exclusiveMinimum' if self.above else 'minimum': self.low} if self.low > -math.inf else {}
        high = {'exclusiveMaximum' if self.below else 'maximum': self.high} if self.high < math.inf else {}
        return {**low, **high}


@dataclass(frozen=True)
class Pattern:
    """Text that a regular expression matches as a whole; ``meaning`` ends the error line after the value.

    ``longest`` is in bytes, since file systems allow a name 255 of them.
    """

    regex: str
    meaning: str
    longest: int = 150

    def fault(self, value: Any) -> str | None:
        """Say what is wrong with ``value``, or return None."""
        if len(value.encode('utf-8', 'surrogatepass')) > self.longest:
            return f'{value[:20]!r}... is longer than {self.longest} bytes'
        return None if re.fullmatch(self.regex, value) else f'{value!r} {self.meaning}'

    def schema(self) -> dict[str, Any]:
        """Return JSON schema's words for it."""
        return {'pattern': f'^(?:{self.regex})$'}


def check_rising(values: Sequence[float], name: str) -> None:
    """Raise ValueError unless each value is above the one before it."""
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError(f'{name}: each must be above the one before it; found {list(values)[:10]}')


Share = Annotated[float, Range(0, 1)]
Decay = Annotated[float, Range(0, 1, below=True)]
Weight = Annotated[float, Range(0, 1e4)]
Rate = Annotated[float, Range(0, 0.1)]
Count = Annotated[int, Range(1, 10**9)]
CountOrNone = Annotated[int, Range(0, 10**9)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Bound = Annotated[float, Range(0, 1e4)]
FolderName = Annotated[str, Pattern(r'\w[\w.+ -]*', 'cannot name a folder; use letters, digits, "_", "-" and "."')]
Device = Annotated[str, Pattern(r'auto|(cpu|cuda|mps|xpu)(:\d{1,3})?', 'is no device; use cpu, cuda or cuda:0')]
Side = Annotated[int, Range(8, 2048)]
Narrow = Annotated[float, Range(0, 4, above=True)]
Multiplier = Annotated[int, Range(1, 16)]
