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

import numpy as np
import pandas as pd

SMALL = ("--seeds", "2", "--images", "1280", "--evaluations", "2")
KINDS = ("variants", "datasets", "extractors", "metrics", "reporters")


def ganbench(*arguments: str, check: bool = True) -> bool:
    print("$ ganbench", *arguments, flush=True)
    return subprocess.run(["ganbench", *arguments], check=check).returncode == 0


def offers() -> dict[str, list[str]]:
    """Names by kind of what others offer; ends with a message if there is none, or if something is broken."""
    catalog: dict[str, Any] = json.loads(subprocess.run(["ganbench", "list", "--json"], stdout=-1).stdout)
    if catalog["broken"] or catalog["duplicates"]:
        sys.exit(f"ganbench list finds fault: {catalog['broken']} {catalog['duplicates']}")
    found = {k: [o["name"] for o in catalog.get(k, []) if o["distribution"] != "ganbench"] for k in KINDS}
    if not any(found.values()):
        sys.exit("no distribution but ganbench itself offers anything in this environment")
    return found


def run(results: Path, variants: list[str], datasets: list[str], *more: str) -> pd.DataFrame:
    """The trials of a small sweep beside vanilla; a variant that does not suit a dataset is left out by ganbench."""
    names = ",".join([*variants, *({"vanilla"} - {*variants})])
    ganbench("run", "-p", names, "-d", ",".join(datasets), *more, *SMALL, "--results", str(results))
    trials = pd.read_csv(results / "trials.csv")
    failed = trials[trials["status"] != "completed"]
    assert failed.empty, failed[["dataset", "variant", "seed", "status", "reason"]].to_string()
    return trials


def noise(path: Path) -> str:
    """A dataset of 32x32 colour images for variants that no small one suits."""
    np.savez(path, images=np.random.default_rng(0).integers(0, 256, (768, 32, 32, 3), np.uint8))
    return f"npz:{path}"


def main(folder: Path) -> None:
    found = offers()
    print("\n".join(f"{kind}: {', '.join(names) or 'none'}" for kind, names in found.items()), flush=True)
    ganbench("check", *dict.fromkeys(name for names in found.values() for name in names))
    metrics = ["--metrics", ",".join(["coverage", *found["metrics"]])]
    trials = [run(folder / "small", found["variants"], ["digits", "ring8"], *metrics)]
    for dataset in found["datasets"]:
        # One without labels has no classifier of its own.
        known = ganbench("run", "-p", "vanilla", "-d", dataset, "--dry-run", check=False)
        extractor = () if known else ("--extractor", "pixels")
        trials.append(run(folder / dataset.replace(":", "-"), found["variants"], [dataset], *metrics, *extractor))
    missing = sorted({*found["variants"]} - {*pd.concat(trials)["variant"]})
    if missing:
        large = noise(folder / "noise.npz")
        trials.append(run(folder / "large", missing, [large], "--metrics", "coverage", "--extractor", "pixels"))
    for extractor in found["extractors"]:
        trials.append(run(folder / extractor, [], ["digits"], *metrics, "--extractor", extractor))
    together = pd.concat(trials)
    for what in ("variant", "dataset"):
        without = {*found[f"{what}s"]} - {*together[what]}
        assert not without, f"no row of {what} {', '.join(sorted(without))}"
    for name in found["metrics"]:
        assert together[name].notna().any(), f"metric {name} has no value in any row"
    for results in {path.parent for path in folder.glob("*/trials.csv")}:
        board, roles = pd.read_csv(results / "leaderboard.csv"), pd.read_csv(results / "trials.csv")
        ranked = {*roles.loc[roles["role"] == "variant", "variant"]}
        assert board.loc[board["variant"].isin(ranked), "rank"].notna().all(), board
        if found["reporters"]:
            ganbench("report", "--format", ",".join(found["reporters"]), "--results", str(results))
        print(board[["dataset", "variant", "rank", "seeds", "failed"]].to_string())


main(Path(sys.argv[1]))
