"""ganbench: which GAN is better, by how much, how sure are we, and how often does its training fail?

    import ganbench
    frame = ganbench.run(["dcgan", "vanilla"], seeds=5)   # trains, as the command does
    frame = ganbench.load_results("ganbench-results")     # one row a trial, evaluation and metric
    ganbench.leaderboard(frame)                           # ranked, with intervals, tiers and failures
    ganbench.compare(before, after)                       # better, worse or no evidence
    ganbench.neighbours(frame)                            # what separates each from the next, or would
    ganbench.across(frame)                                # several datasets: average ranks and normalised scores
    ganbench.profiles(frame)                              # share of trials above each normalised score

Importing this package brings neither torch nor pandas; the functions load what they need.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ganbench.analysis.aggregation import across, profiles
    from ganbench.analysis.comparison import compare
    from ganbench.analysis.findings import neighbours
    from ganbench.reporters.notebook import leaderboard, load_results
    from ganbench.runner.python_call import run

_HOMES = {
    "across": "analysis.aggregation",
    "compare": "analysis.comparison",
    "leaderboard": "reporters.notebook",
    "load_results": "reporters.notebook",
    "neighbours": "analysis.findings",
    "profiles": "analysis.aggregation",
    "run": "runner.python_call",
}
__all__ = ["__version__", "across", "compare", "leaderboard", "load_results", "neighbours", "profiles", "run"]
__version__ = version("ganbench")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"ganbench has no {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"ganbench.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
