"""Check, run and rank every plugin that other distributions have brought into this environment.

    python tests/downstream.py RESULTS

tox -e thirdparty does so for examples/, tox -e downstream for distributions that are named.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd

SMALL = ("--seeds", "2", "--images", "1280", "--evaluations", "2")


def ganbench(*arguments: str) -> None:
    print("$ ganbench", *arguments, flush=True)
    subprocess.run(["ganbench", *arguments], check=True)


def offers() -> dict[str, list[str]]:
    """Names by kind of what others offer; ends with a message if there is none, or if something is broken."""
    catalog: dict[str, Any] = json.loads(subprocess.run(["ganbench", "list", "--json"], stdout=-1).stdout)
    if catalog["broken"] or catalog["duplicates"]:
        sys.exit(f"ganbench list finds fault: {catalog['broken']} {catalog['duplicates']}")
    kinds = ("variants", "datasets", "extractors", "metrics")
    found = {k: [o["name"] for o in catalog[k] if o["distribution"] != "ganbench"] for k in kinds}
    if not any(found.values()):
        sys.exit("no distribution but ganbench itself offers anything in this environment")
    return found


def main(results: str) -> None:
    found = offers()
    print("\n".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in found.items()), flush=True)
    ganbench("check", *(name for names in found.values() for name in names))
    datasets = ["digits", *found["datasets"]]
    # Beside the primary metrics, without which nothing is ranked.
    metrics = ["--metrics", ",".join(["fid", "coverage", *found["metrics"]])] if found["metrics"] else []
    variants = ",".join([*found["variants"], "vanilla"])
    ganbench("run", "-p", variants, "-d", ",".join(datasets), *metrics, *SMALL, "--results", results)
    board = pd.read_csv(Path(results) / "leaderboard.csv")
    for what, there in (("variant", set(board["variant"])), ("dataset", set(board["dataset"]))):
        missing = set(found[f"{what}s"]) - there
        assert not missing, f"no row of {what} {', '.join(sorted(missing))}"
    assert not board["failed"].any(), board
    assert board["rank"].notna().all(), board
    for name in found["metrics"]:
        assert board.filter(regex=rf"^{name}\b").notna().any(axis=None), f"metric {name} has no value in any row"
    print(board[["dataset", "variant", "rank", "seeds", "failed", *found["metrics"]]].to_string())


main(*sys.argv[1:])
