"""Finding a misspelt name at once, from entry points and the text of modules, before anything imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from ganbench.discovery.catalog import Catalog, families
from ganbench.discovery.entry_points import Installed, Point, find_installed


def check_names(wanted: Iterable[tuple[str, str]]) -> Installed:
    """Raise DiscoveryError, as ``Catalog.get`` does, for a pair (kind, name) that nothing can offer.

    ganbench's own modules offer each thing under an entry point of its name. A stranger's may offer others beside it:
    where there is one, names that no entry point has are left to those who import it.
    """
    installed = find_installed()
    strangers = installed.files or any(p.distribution != "ganbench" for same in installed.points.values() for p in same)
    for kind, name in wanted if not strangers else ():
        candidates = [name, *families(kind, name)]
        if any(may_offer(p, kind) for one in candidates for p in installed.points.get(one, [])):
            continue
        if any(name == point.name for point in installed.blocked) or Path(name).exists():
            continue
        catalog = Catalog()
        catalog.offers = {
            (kind, known): None  # type: ignore[misc]
            for known, same in installed.points.items()
            if any(may_offer(point, kind) for point in same)
        }
        raise catalog.unknown(kind, name)
    return installed


def may_offer(point: Point, kind: str) -> bool:
    """Whether the text of a module names the hook of a kind; True where there is no text to read."""
    try:
        origin = (spec := find_spec(point.module)) and spec.origin
        return f"ganbench_{kind}s" in Path(str(origin)).read_text()
    except (ImportError, OSError, ValueError):
        return True
