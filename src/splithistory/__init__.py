"""Split-history measures of optimization and impact, and the transformers they are tried on."""

from . import differential, information, objectives
from .measure import SplitHistory, split_history
from .recurrence import Recurrence

__all__ = ["Recurrence", "SplitHistory", "differential", "information", "objectives", "split_history"]
__version__ = "0.1.0"
