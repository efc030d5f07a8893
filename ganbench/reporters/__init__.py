"""Tables and pages from records: files (CSV, HTML, Markdown, LaTeX, JSON, Parquet), the terminal, the notebook.

What the numbers are is decided in ``analysis``; here they are only laid out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from ganbench.discovery.catalog import Offer
from ganbench.discovery.entry_points import REPORTERS, Point, declared_api, find_installed, why_outdated
from ganbench.plugin.interfaces import Reporter
from ganbench.utils.errors import UsageError, in_words, location
from ganbench.utils.names import hint

DEFAULT = ("csv", "html", "md")


def load_reporters(names: Iterable[str]) -> list[Reporter]:
    """The reporters of those names, imported only now; raises UsageError naming the nearest known ones."""
    points = find_installed(REPORTERS).points
    found = []
    for name in names:
        if name not in points:
            raise UsageError(f"there is no report format {name!r}; {hint(name, sorted(points))}")
        found.append(_load(points[name]))
    return found


def find_reporter(name: str) -> Offer | None:
    """The reporter of that name and where it comes from, or None; raises UsageError for one that cannot be used."""
    points = find_installed(REPORTERS).points.get(name)
    if points is None:
        return None
    point = points[0]
    return Offer("reporter", name, _load(points), name, point.distribution, point.version, point.value)


def _load(points: list[Point]) -> Reporter:
    point = points[0]
    if len(points) > 1:
        who = " and ".join(one.distribution for one in points)
        raise UsageError(f"report format {point.name!r} is installed by both {who}; uninstall one of them")
    try:
        reporter = point.load()
    except (Exception, SystemExit) as reason:
        raised = f"importing {point.value} raised {in_words(reason)}{location(reason)}"
        raise UsageError(f"report format {point.name!r}: {why_outdated(declared_api(point)) or raised}") from None
    if (why := why_outdated(getattr(sys.modules[point.module], "GANBENCH_API", None))) is not None:
        raise UsageError(f"report format {point.name!r}: {why}")
    if not isinstance(reporter, Reporter):
        raise UsageError(f"report format {point.name!r}: {point.value} is not an instance of ganbench.plugin.Reporter")
    return reporter
