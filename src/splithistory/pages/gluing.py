"""Values that a cell hands to the prose: the book places them, a notebook shows them beneath the cell."""

import ast
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

PREFIX = "application/papermill.record/"  # of the book's own kinds, as MyST-NB has it


def hand_over(
    name: str, value: Any, shown: Mapping[str, str], about: Mapping[str, Any] | None = None
) -> None:
    """Glue a value under a name for the prose (`{glue:text}`, `{glue:figure}`).

    shown: {kind: data}, what stands beneath the cell in Jupyter, where the prose has no values; about: {kind:
    metadata} of it. The book passes over it: it takes what lies under its own kinds, whose prefix is longer
    than the name of any other.
    """
    from IPython.core.formatters import format_display_data
    from IPython.display import display

    placed, metadata = format_display_data(value)
    metadata = metadata | dict(about or {}) | {"scrapbook": {"name": name, "mime_prefix": PREFIX}}
    bundle = {PREFIX + kind: data for kind, data in placed.items()}
    display(bundle | dict(shown), raw=True, metadata=metadata)


def glued_name(output: Mapping) -> str | None:
    """The name under which an output of a notebook was handed over, None if it was not."""
    return output.get("metadata", {}).get("scrapbook", {}).get("name")


def glued_value(output: Mapping) -> str | float | None:
    """The text or the number that was handed over; None if it was neither, such as a figure."""
    source = output.get("data", {}).get(f"{PREFIX}text/plain", "")
    with suppress(ValueError):
        return float(source)
    with suppress(ValueError, SyntaxError):  # IPython shows a text as Python writes it
        return text if isinstance(text := ast.literal_eval(source), str) else None
    return None
