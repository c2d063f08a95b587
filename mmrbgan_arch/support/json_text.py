"""JSON that came from anywhere: whatever is wrong with it is a ValueError."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: not JSON, not UTF-8, or nested so deeply that Python's stack would end.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('nested too deeply') from None
