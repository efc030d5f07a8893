"""One search with one budget for every variant: what the defaults of the leaderboard are chosen by.

    python benchmarks/search.py FOLDER                      # every variant, many hours; continues where it was stopped
    python benchmarks/search.py FOLDER -p r1 -p sngan       # these
    python benchmarks/search.py FOLDER --tables results/tuning   # nothing is trained: tables of what is there

``ganbench tune`` gives each variant 20 configurations, its defaults and 19 random ones, on ``digits`` and on ``ring8``,
or on what of both it suits. What is searched are its continuous hyperparameters: step sizes, decays, weights of
penalties. Whole numbers and choices (widths, depths, steps of the critic, augmentation) set what a training costs and
what the model is, and keep their defaults; a mixture of Gaussians has nothing else, so its numbers are searched. So do
the weights of what no score sees: that a class or a code can be read off a sample. A search would take them to 0.

Configuration i is the same on all datasets. The defaults and the four others of the lowest mean rank over both are the
*finalists*. They are trained again, all by one seed and as long as the reference is (on ``mnist``, where none was
trained before, on 32,000 images): what does well in a short training may break down in a longer one. On each dataset
the best has the score 1 and another how many times worse it is, 10 at most, as a training that failed. *Chosen* is the
one with the lowest geometric mean over all three, so that a variant has one setting; of equal ones the first, so that
the defaults win a tie. All this is on a fifth of the training split that trainings leave out.

Writes into ``--tables``: ``configurations.csv`` (every trial of every search), ``finalists.csv``,
``curves.csv`` (the expected best score of every budget, Lucic et al. 2018), ``fresh.csv`` (the defaults, the best of
each dataset and what was chosen, on fresh seeds, scored against the held-out split) and ``README.md``. Variants that
are there and not in FOLDER stay.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from ganbench.reporters.formatting import number
from ganbench.reporters.markdown import to_table

TRIALS = 20
SEEDS = 3
COUNTED = {"gmm": ("components", "dimensions")}
"""Whole numbers that are searched after all."""
UNSEEN = {"acgan": ("weight",), "infogan": ("weight",), "reacgan": ("weight",)}
"""Weights of what no score sees, which keep their defaults."""
BEST = {"digits": "min", "ring8": "max", "mnist": "min"}
FINALISTS = 5
WORST = 10.0
"""Times worse than the best: as bad as a failure."""
FINAL = {
    "digits": "--images 128000 --metrics fid",
    "ring8": "--images 400000 --metrics recovered_mass",
    "mnist": "--images 32000 --metrics fid",
}
"""How finalists are trained on each dataset."""


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
        searched = each["type"] == "float" or each["name"] in COUNTED.get(name, ())
        if not searched or each["name"] in UNSEEN.get(name, ()):
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
    """Train the finalists of a variant's search, each into a folder with the configuration's number."""
    found = pd.read_csv(folder / name / "tuning.csv")
    for configuration in finalists(found):
        values = json.loads(found.set_index("configuration").loc[[configuration], "hyperparameters"].iloc[0])
        for dataset in final_datasets(found):
            command = ["-m", "ganbench", "run", "-p", name, "-d", dataset, *shlex.split(FINAL[dataset])]
            command += ["--evaluations", "2", "--reference", "validation", "--seeds", "1000,"]
            for key, value in values.items():
                command += ["--set", f"{name}.{key}={value}"]
            command += ["--results", str(folder / name / "finalists" / str(configuration) / dataset)]
            print(shlex.join(["ganbench", *command[2:]]), flush=True)
            subprocess.run([sys.executable, *command], check=False)


def prove(name: str, folder: Path) -> None:
    """Train what was chosen on fresh seeds; ``tune`` did the defaults and the best of each dataset."""
    found = pd.read_csv(folder / name / "tuning.csv")
    final = merged_finalists(folder)
    if place := choose(found, final[final["variant"] == name]):
        values = json.loads(found.set_index("configuration").loc[[place], "hyperparameters"].iloc[0])
        command = ["-m", "ganbench", "run", "-p", name, "-d", ",".join(sorted(set(found["dataset"])))]
        command += ["--seeds", str(SEEDS)]
        for key, value in values.items():
            command += ["--set", f"{name}.{key}={value}"]
        command += ["--results", str(folder / name / "final")]
        print(shlex.join(["ganbench", *command[2:]]), flush=True)
        subprocess.run([sys.executable, *command], check=False)


def final_datasets(found: pd.DataFrame) -> list[str]:
    """What the finalists of a variant are trained on: what it suits."""
    suited = set(found["dataset"])
    return [dataset for dataset in FINAL if dataset in suited or (dataset == "mnist" and "digits" in suited)]


def mean_ranks(scores: pd.DataFrame) -> pd.Series:
    """Of each configuration, the mean over datasets of its rank among those that were trained on all of them."""
    table = scores.pivot(index="configuration", columns="dataset", values="score").dropna()
    return pd.DataFrame({name: of.rank(ascending=BEST[name] == "min") for name, of in table.items()}).mean(axis=1)


def finalists(found: pd.DataFrame) -> list[int]:
    """The defaults, and the other configurations of the lowest mean rank, the first of equal ones."""
    others = mean_ranks(found).drop(0).sort_values(kind="stable").index
    return [0, *map(int, others[: FINALISTS - 1])]


def choose(found: pd.DataFrame, final: pd.DataFrame) -> int:
    """The finalist of a variant that is nearest to the best of them over datasets, the first of equal ones.

    Before all are trained, the configuration of the lowest mean rank in the search.
    """
    return int((mean_ranks(found) if final.empty else times_worse(final)).idxmin())


def times_worse(final: pd.DataFrame) -> pd.Series:
    """Of each finalist, how many times worse than the best it scores: the geometric mean over datasets."""
    table = final.pivot(index="configuration", columns="dataset", values="score")
    ratios = {name: of / of.min() if BEST[name] == "min" else of.max() / of for name, of in table.items()}
    return np.exp(np.log(pd.DataFrame(ratios).clip(upper=WORST)).mean(axis=1))


def merged(folder: Path, pattern: str, kept: Path, keys: list[str]) -> pd.DataFrame:
    """The tables of all searches in a folder, and of rows with other keys what was kept of them."""
    tables = [pd.read_csv(kept)] if kept.exists() else []
    tables += [pd.read_csv(path) for path in sorted(folder.glob(pattern))]
    both = pd.concat(tables, ignore_index=True).drop_duplicates(keys, keep="last")
    return both.sort_values(["variant", "dataset"], kind="stable")


def merged_finalists(folder: Path, kept: Path | None = None) -> pd.DataFrame:
    """Scores of finalists: of those that were trained in the folder, and of others what was kept."""
    rows = []
    for path in sorted(folder.glob("*/finalists/*/*/trials.csv")):
        dataset = path.parent.name
        (score,) = pd.read_csv(path)["recovered_mass" if BEST[dataset] == "max" else "fid"]
        if math.isnan(score):
            score = 0.0 if BEST[dataset] == "max" else math.inf
        rows.append([dataset, path.parents[3].name, int(path.parents[1].name), score])
    new = pd.DataFrame(rows, columns=["dataset", "variant", "configuration", "score"]).astype({"score": float})
    both = [pd.read_csv(kept), new] if kept is not None and kept.exists() else [new]
    of = ["variant", "dataset", "configuration"]
    return pd.concat(both, ignore_index=True).drop_duplicates(of, keep="last").sort_values(of)


def name_of(label: str) -> str:
    return label.split("[")[0]


def tables(folder: Path, out: Path) -> None:
    """What the searches found, of all variants that are there."""
    found = merged(folder, "*/tuning.csv", out / "configurations.csv", ["variant", "dataset", "configuration"])
    curves = merged(folder, "*/tuning_curve.csv", out / "curves.csv", ["variant", "dataset", "budget"])
    fresh = merged(folder, "*/final/trials.csv", out / "fresh.csv", ["variant", "dataset", "seed"])
    fresh = fresh[["dataset", "variant", "seed", "status", "verdict", "fid", "recovered_mass", "modes"]]
    final = merged_finalists(folder, out / "finalists.csv")
    searches = dict(list(found.groupby("variant")))
    wanted = [(name, d, c) for name, own in searches.items() for d in final_datasets(own) for c in finalists(own)]
    final = final.set_index(["variant", "dataset", "configuration"]).reindex(wanted)["score"].reset_index()
    waiting = sorted(set(final[final["score"].isna()]["variant"]))
    final = final.dropna()
    final_of = {name: final[(final["variant"] == name) & ~final["variant"].isin(waiting)] for name in searches}
    chosen = {name: choose(own, final_of[name]) for name, own in searches.items()}
    found["chosen"] = ["yes" if chosen[row.variant] == row.configuration else "" for row in found.itertuples()]
    out.mkdir(parents=True, exist_ok=True)
    found.to_csv(out / "configurations.csv", index=False)
    final.to_csv(out / "finalists.csv", index=False)
    curves.to_csv(out / "curves.csv", index=False)
    fresh.to_csv(out / "fresh.csv", index=False)
    lines = [__doc__.split("\n\n", 1)[1].split("Writes into")[0].rstrip(), ""]
    lines += ["*Defaults*, and a variant without settings, are those before the search: `configurations.csv` has them"]
    lines += ["as configuration 0; the other 19 are random. They had been set by hand, some with more care than"]
    lines += ["others, and on scores of the test split: so much of the chances was not equal. What was chosen is the"]
    lines += ["default now, rounded; of `wgan` all but its beta1, which does nothing there: RMSProp has none. A search"]
    lines += ["that is begun now therefore has another configuration 0 for half of the variants, and the same random"]
    lines += ["ones. Where a paper names step sizes or weights, the variant's file in plugins/ has them, too.", ""]
    for dataset, own in found.groupby("dataset"):
        rows = []
        for name, of in own.groupby("variant"):
            scores = of.set_index("configuration")["score"]
            curve = curves[(curves.variant == name) & (curves.dataset == dataset)].set_index("budget")["expected_best"]
            shown = [number(curve[budget]) for budget in (1, 5, 10, TRIALS) if budget in curve.index]
            rows.append([name, number(scores[0]), *shown, number(scores[chosen[name]])])
        head = ["variant", "defaults", "best of 1", "5", "10", "20, expected", "chosen"]
        lines += [f"## The search on {dataset}", "", to_table(head, rows), ""]
    for dataset in FINAL:
        rows = []
        for name, of in final[final["dataset"] == dataset].groupby("variant"):
            scores = of.set_index("configuration")["score"]
            if name not in waiting:
                others = ", ".join(number(scores[place]) for place in finalists(searches[str(name)])[1:])
                rows.append([name, number(scores[0]), others, number(scores[chosen[str(name)]])])
        measure = "Recovered mass" if BEST[dataset] == "max" else "FID"
        lines += [f"## The finalists on {dataset}", "", f"{measure}; the others in the order of their mean rank.", ""]
        lines += [to_table(["variant", "defaults", "others", "chosen"], rows), ""]
    if waiting:
        lines += [f"Finalists not trained yet, and chosen by the search alone: {', '.join(waiting)}.", ""]
    rows = []
    for (name, dataset), own in fresh.groupby([fresh["variant"].map(name_of), "dataset"]):
        scores = own.groupby("variant")["recovered_mass" if dataset == "ring8" else "fid"].median()
        of = found[(found.variant == name) & (found.dataset == dataset)].set_index("configuration")
        best = of["score"].idxmin() if BEST[dataset] == "min" else of["score"].idxmax()
        labels = [of.label[place] if place else name for place in (0, best, chosen[name])]
        rows.append([name, dataset, *(number(scores[label]) if label in scores else "" for label in labels)])
    lines += ["## On fresh seeds", "", "Median over three seeds that no search has seen: FID on digits, recovered"]
    lines += [
        "mass on ring8, of the defaults, the best configuration of each dataset's search, and what was chosen.",
        "",
    ]
    lines += [to_table(["variant", "dataset", "defaults", "best there", "chosen"], rows), ""]
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
        prove(name, options.folder)


if __name__ == "__main__":
    main()
