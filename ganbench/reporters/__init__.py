"""Reporters: what writes tables into the results folder, behind entry points of group ``ganbench.reporters``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib.metadata import entry_points

from ganbench.errors import UsageError
from ganbench.kinds import Reporter

GROUP = "ganbench.reporters"
DEFAULT = ("csv", "html", "md")


def load_reporters(names: Iterable[str]) -> list[Reporter]:
    """The reporters of those names, imported only now; raises UsageError naming the nearest known ones."""
    points = {point.name: point for point in entry_points(group=GROUP)}
    found = []
    for name in names:
        if name not in points:
            near = difflib.get_close_matches(name, points, n=2) or sorted(points)
            raise UsageError(f"there is no report format {name!r}; there are {', '.join(near)}")
        reporter = points[name].load()
        if not isinstance(reporter, Reporter):
            raise UsageError(
                f"report format {name!r}: {points[name].value} is not an instance of ganbench.plugin.Reporter"
            )
        found.append(reporter)
    return found
