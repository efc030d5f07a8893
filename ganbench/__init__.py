"""ganbench: which GAN is better, by how much, how sure are we, and how often does its training fail?

    import ganbench
    frame = ganbench.load_results("results")     # one row a trial, evaluation and metric
    ganbench.leaderboard(frame)                  # ranked, with intervals, tiers and failures
    ganbench.compare(before, after)              # better, worse or no evidence

Importing this package brings neither torch nor pandas; the functions load what they need.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.comparison import compare
    from ganbench.frames import load_results
    from ganbench.ranking import leaderboard

_HOMES = {"compare": "comparison", "leaderboard": "ranking", "load_results": "frames"}
__all__ = ["__version__", "compare", "leaderboard", "load_results"]
__version__ = version("ganbench")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"ganbench has no {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"ganbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
