"""One search with one budget for every variant: what the defaults of the leaderboard are chosen by.

    python benchmarks/search.py FOLDER                      # every variant, many hours; continues where it was stopped
    python benchmarks/search.py FOLDER -p r1 -p sngan       # these
    python benchmarks/search.py FOLDER --tables results/tuning   # nothing is trained: tables of what is there

``ganbench tune`` gives each variant 20 configurations on ``digits`` and on ``ring8``, or on what of both it suits.
What is searched are its continuous hyperparameters: step sizes, decays, weights of penalties. Whole numbers and choices
(widths, depths, steps of the critic, augmentation) set what a training costs and what the model is, and keep their
defaults; a mixture of Gaussians has nothing else, so its numbers are searched.

Configuration i is the same on all datasets. The defaults and the four others of the lowest mean rank over both are the
*finalists*, trained on ``mnist`` too, on 32,000 images each. The one that is *chosen* has the lowest mean rank
among them over all three, so that a variant has one setting; of equal ones the first, so that the defaults win a tie.
Ranks are by the score of the search, on a fifth of the training split that its trainings leave out.

Writes into ``--tables``: ``configurations.csv`` (every trial of every search), ``finalists.csv`` (those on mnist),
``curves.csv`` (the expected best score of every budget, Lucic et al. 2018), ``fresh.csv`` (the defaults and the best of
each dataset on fresh seeds, scored against the held-out split) and ``README.md``. Variants that are there and not in
FOLDER stay.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pandas as pd

from ganbench.reporters.formatting import number
from ganbench.reporters.markdown import to_table

TRIALS = 20
SEEDS = 3
COUNTED = {"gmm": ("components", "dimensions")}
"""Whole numbers that are searched after all."""
BEST = {"digits": "min", "ring8": "max", "mnist": "min"}
FINALISTS = 5
FINAL = "-d mnist --images 32000 --evaluations 2 --metrics fid --reference validation --seeds 1000,"


def variants() -> dict[str, list[dict]]:
    """Hyperparameters of every variant that ships and learns."""
    command = [sys.executable, "-m", "ganbench", "list", "--json"]
    listed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["variants"]
    return {
        variant["name"]: variant["hyperparameters"]
        for variant in listed
        if variant["distribution"] == "ganbench" and variant["name"] not in ("memorizer", "noise")
        if not variant["name"].startswith("planted-")
    }


def search(name: str, hyperparameters: list[dict], folder: Path) -> None:
    """Search a variant with ``ganbench tune``; continues what was stopped."""
    fixed = []
    for each in hyperparameters:
        if each["type"] != "float" and each["name"] not in COUNTED.get(name, ()):
            fixed += ["--set", f"{name}.{each['name']}={each['default']}"]
    command = [
        "-m",
        "ganbench",
        "tune",
        "-p",
        name,
        "-d",
        "digits,ring8",
        "--trials",
        str(TRIALS),
        "--seeds",
        str(SEEDS),
    ]
    command += [*fixed, "--results", str(folder / name)]
    print(shlex.join(["ganbench", *command[2:]]), flush=True)
    subprocess.run([sys.executable, *command], check=False)


def train_finalists(name: str, folder: Path) -> None:
    """Train the finalists of a variant's search on 28x28 images, each into a folder with the configuration's number."""
    found = pd.read_csv(folder / name / "tuning.csv")
    if "digits" not in set(found["dataset"]):
        return
    for configuration in finalists(found):
        values = json.loads(found.set_index("configuration").loc[[configuration], "hyperparameters"].iloc[0])
        command = ["-m", "ganbench", "run", "-p", name, *shlex.split(FINAL)]
        for key, value in values.items():
            command += ["--set", f"{name}.{key}={value}"]
        command += ["--results", str(folder / name / "mnist" / str(configuration))]
        print(shlex.join(["ganbench", *command[2:]]), flush=True)
        subprocess.run([sys.executable, *command], check=False)


def mean_ranks(scores: pd.DataFrame) -> pd.Series:
    """Of each configuration, the mean over datasets of its rank among those that were trained on all of them."""
    table = scores.pivot(index="configuration", columns="dataset", values="score").dropna()
    return pd.DataFrame({name: of.rank(ascending=BEST[name] == "min") for name, of in table.items()}).mean(axis=1)


def finalists(found: pd.DataFrame) -> list[int]:
    """The defaults, and the other configurations of the lowest mean rank, the first of equal ones."""
    others = mean_ranks(found).drop(0).sort_values(kind="stable").index
    return [0, *map(int, others[: FINALISTS - 1])]


def choose(found: pd.DataFrame, final: pd.DataFrame) -> int:
    """The configuration of a variant with the lowest mean rank over datasets, the first of equal ones."""
    among = found[found["configuration"].isin(finalists(found))]
    return int(mean_ranks(pd.concat([among, final])).idxmin())


def merged(folder: Path, pattern: str, kept: Path) -> pd.DataFrame:
    """The tables of all searches in a folder, and of variants that are not there what was kept of them."""
    new = [pd.read_csv(path) for path in sorted(folder.glob(pattern))]
    names = {name_of(label) for table in new for label in table["variant"]}
    old = [pd.read_csv(kept)] if kept.exists() else []
    old = [table[~table["variant"].map(name_of).isin(names)] for table in old]
    return pd.concat(old + new, ignore_index=True).sort_values(["variant", "dataset"], kind="stable")


def merged_finalists(folder: Path, kept: Path) -> pd.DataFrame:
    """Scores of finalists on mnist: of those that were trained in the folder, and of other variants what was kept."""
    rows = []
    for path in sorted(folder.glob("*/mnist/*/trials.csv")):
        (fid,) = pd.read_csv(path)["fid"].fillna(float("inf"))
        rows.append(
            {"dataset": "mnist", "variant": path.parents[2].name, "configuration": int(path.parent.name), "score": fid}
        )
    new = pd.DataFrame(rows, columns=["dataset", "variant", "configuration", "score"])
    old = pd.read_csv(kept) if kept.exists() else new[:0]
    both = [old[~old["variant"].isin(new["variant"])], new]
    return pd.concat(both, ignore_index=True).sort_values(["variant", "configuration"], kind="stable")


def name_of(label: str) -> str:
    return label.split("[")[0]


def tables(folder: Path, out: Path) -> None:
    """What the searches found, of all variants that are there."""
    found = merged(folder, "*/tuning.csv", out / "configurations.csv")
    curves = merged(folder, "*/tuning_curve.csv", out / "curves.csv")
    fresh = merged(folder, "*/final/trials.csv", out / "fresh.csv")
    fresh = fresh[["dataset", "variant", "seed", "status", "verdict", "fid", "recovered_mass", "modes"]]
    final = merged_finalists(folder, out / "finalists.csv")
    wanted = {name: set(finalists(own)) for name, own in found.groupby("variant")}
    final = final.groupby("variant").filter(lambda own: set(own["configuration"]) == wanted[str(own.name)])
    chosen = {name: choose(own, final[final["variant"] == name]) for name, own in found.groupby("variant")}
    found["chosen"] = ["yes" if chosen[row.variant] == row.configuration else "" for row in found.itertuples()]
    out.mkdir(parents=True, exist_ok=True)
    found.to_csv(out / "configurations.csv", index=False)
    final.to_csv(out / "finalists.csv", index=False)
    curves.to_csv(out / "curves.csv", index=False)
    fresh.to_csv(out / "fresh.csv", index=False)
    lines = [__doc__.split("\n\n", 1)[1].split("Writes into")[0].rstrip(), ""]
    lines += ["*Defaults*, and a variant without settings, are those before the search. What is"]
    lines += ["chosen becomes the default, rounded to a digit or two, when the reference is trained with it.", ""]
    for dataset, own in found.groupby("dataset"):
        rows = []
        for name, of in own.groupby("variant"):
            scores = of.set_index("configuration")["score"]
            curve = curves[(curves.variant == name) & (curves.dataset == dataset)].set_index("budget")["expected_best"]
            shown = [number(curve[budget]) for budget in (1, 5, 10, TRIALS) if budget in curve.index]
            rows.append([name, number(scores[0]), *shown, number(scores[chosen[name]])])
        head = ["variant", "defaults", "best of 1", "5", "10", "20, expected", "chosen"]
        lines += [f"## {dataset}", "", to_table(head, rows), ""]
    rows = []
    for name, of in final.groupby("variant"):
        scores = of.set_index("configuration")["score"]
        others = ", ".join(number(scores[place]) for place in finalists(found[found["variant"] == name])[1:])
        rows.append([name, number(scores[0]), others, number(scores[chosen[name]])])
    lines += ["## mnist", "", "FID of the finalists, the others in the order of their rank on digits and ring8.", ""]
    lines += [to_table(["variant", "defaults", "others", "chosen"], rows), ""] if rows else []
    waiting = sorted(set(found[found["dataset"] == "digits"]["variant"]) - set(final["variant"]))
    if waiting:
        lines += [f"Not trained on mnist yet, and chosen by the other two alone: {', '.join(waiting)}.", ""]
    scores = fresh.groupby(["variant", "dataset"])[["fid", "recovered_mass"]].median()
    rows = [
        [label, dataset, number(own.recovered_mass if dataset == "ring8" else own.fid)]
        for (label, dataset), own in scores.iterrows()
    ]
    lines += ["## On fresh seeds", "", "Median over three seeds that no search has seen: FID on digits, recovered"]
    lines += ["mass on ring8, of the defaults and of the best configuration of each dataset.", ""]
    lines += [to_table(["configuration", "dataset", "score"], rows), ""]
    lines += ["## What was chosen", ""]
    for name, place in chosen.items():
        of = found[(found.variant == name) & (found.configuration == place)].iloc[0]
        lines.append(f"- `{name}`: " + ("its defaults" if place == 0 else f"`{of.label}`"))
    (out / "README.md").write_text("# The search behind the defaults\n\n" + "\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the searches are, a folder each")
    parser.add_argument("-p", "--plugin", action="append", help="a variant; all that ship by default")
    parser.add_argument("--tables", type=Path, help="write tables of what is there into this folder, and train nothing")
    options = parser.parse_args()
    if options.tables:
        tables(options.folder, options.tables)
        return
    known = variants()
    for name in options.plugin or known:
        search(name, known[name], options.folder)
        train_finalists(name, options.folder)


if __name__ == "__main__":
    main()
