"""Split-history measures of optimization and impact, and the transformers they are tried on."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import differential, information, objectives
    from .measure import SplitHistory, split_history
    from .recurrence import Recurrence

__all__ = ["Recurrence", "SplitHistory", "differential", "information", "objectives", "split_history"]
__version__ = "0.1.0"
_FROM = {"Recurrence": ".recurrence", "SplitHistory": ".measure", "split_history": ".measure"}


def __getattr__(name: str) -> Any:
    """A public name or a module, imported when it is first used: a command answers before NumPy is there."""
    if name in _FROM:
        found = getattr(import_module(_FROM[name], __name__), name)
        globals()[name] = found
        return found
    if name.startswith("_") or find_spec(f"{__name__}.{name}") is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f".{name}", __name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
