"""Values that a cell hands to the prose: the book places them, a notebook shows them beneath the cell."""

from collections.abc import Mapping
from typing import Any


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
    from myst_nb.ext.glue import GLUE_PREFIX

    placed, metadata = format_display_data(value)
    metadata = metadata | dict(about or {}) | {"scrapbook": {"name": name, "mime_prefix": GLUE_PREFIX}}
    bundle = {GLUE_PREFIX + kind: data for kind, data in placed.items()}
    display(bundle | dict(shown), raw=True, metadata=metadata)
