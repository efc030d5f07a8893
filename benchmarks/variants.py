"""Write the tables of docs/variants.md, and the pictures that they are beside, from the reference results.

    python benchmarks/variants.py [RESULTS]

It trains nothing: ``ganbench run --config results/digits.toml``, and the other files beside it, did.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

ROOT = Path(__file__).parent.parent
SIDE, TOP = 150, 16  # pixels: of a plot of points, of the line with a variant's name
POINTS = {"recovered_mass": "recovered mass ↑", "coverage": "coverage ↑", "mode_kl": "mode KL ↓", "modes": "modes ↑"}
COLUMNS = {
    "digits": {"fid": "FID (digits-cnn) ↓", "recall": "recall ↑"},
    "ring8": POINTS,
    "grid25": POINTS,
    "stacked-digits": {"mode_kl": "mode KL ↓", "modes": "modes of 1,000 ↑", "fid": "FID (stacked-digits-cnn) ↓"},
    "mnist": {"fid": "FID (mnist-cnn) ↓", "recall": "recall ↑"},
    "fashion-mnist": {"fid": "FID (fashion-mnist-cnn) ↓", "recall": "recall ↑"},
}


def variants() -> dict[str, type]:
    """First-party variants that are not planted failures, baselines last."""
    points = [p for p in entry_points(group="ganbench") if p.value.startswith("ganbench_plugins.")]
    offered = {cls.name: cls for p in points for cls in import_module(p.value).ganbench_variants()}
    shown = [cls for cls in offered.values() if cls.role != "planted"]
    return {cls.name: cls for cls in sorted(shown, key=lambda cls: (cls.role == "baseline", cls.name))}


def lines_of_code(cls: type) -> int:
    """Lines of the variant's file that hold code: no docstring, comment or empty line."""
    source = Path(sys.modules[cls.__module__].__file__ or "").read_text()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            is_docstring = body and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
            node.body = body[1:] if is_docstring else body  # type: ignore[attr-defined]
    held: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt):
            first_inner = min((n.lineno for n in ast.iter_child_nodes(node) if isinstance(n, ast.stmt)), default=None)
            held |= set(range(node.lineno, first_inner or (node.end_lineno or node.lineno) + 1))
    return len({i for i in held if source.splitlines()[i - 1].strip()})


def seconds(folder: Path) -> float | None:
    """Median CPU seconds of a variant's trials, training and evaluation."""
    costs = [json.loads(path.read_text())["cpu_seconds"] for path in folder.glob("seed-*/cost.json")]
    return median(costs) if costs else None


def last_quarter(folder: Path, metric: str) -> float | None:
    """Median over trials of how a score changes over the last quarter of the budget, as a share of it."""
    changes = []
    for path in folder.glob("seed-*/record.json"):
        curve = {
            evaluation["images_seen"]: evaluation["watch"].get(metric, evaluation["values"].get(metric))
            for evaluation in json.loads(path.read_text())["evaluations"]
        }
        end = max(curve)
        before = curve[min(curve, key=lambda images, at=0.75 * end: abs(images - at))]
        if before and curve[end] is not None:
            changes.append(curve[end] / before - 1)
    return median(changes) if changes else None


def digits(value: float) -> str:
    """Three digits, and all of a count."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(results: Path, dataset: str) -> list[str]:
    """The Markdown table of one dataset, best first."""
    board = pd.read_csv(results / "leaderboard.csv")
    board = board[board.dataset == dataset].set_index("variant")
    columns = COLUMNS[dataset]
    primary, direction = next(iter(columns)), "↓" in next(iter(columns.values()))
    lines = [
        f"| variant | {' | '.join(columns.values())} | last quarter | verdicts | CPU seconds a seed | lines of code |",
        "|---|" + "---|" * (len(columns) + 4),
    ]
    for name, row in board.sort_values(primary, ascending=direction).iterrows():
        scores = [digits(row[c]) for c in columns]
        if row.seeds > 1:
            scores = [f"{digits(row[c])} [{digits(row[f'{c}_low'])}, {digits(row[f'{c}_high'])}]" for c in columns]
        folder = results / dataset / str(name)
        spent, code, change = seconds(folder), lines_of_code(variants()[str(name)]), last_quarter(folder, primary)
        changed = "" if change is None else f"{change:+.0%}"
        verdict = row.verdict if isinstance(row.verdict, str) else ""
        noted = f"{verdict} ({row.notes})" if isinstance(row.notes, str) else verdict
        told = [row.given] * isinstance(row.given, str) + ["the family of the data"] * (row.true_family == "yes")
        named = f"{name} ({', '.join(told)})" if told else name
        lines.append(f"| {named} | {' | '.join(scores)} | {changed} | {noted} | {spent:.0f} | {code} |")
    ideal = []
    for c in columns:
        floor, spread = (board[name].iloc[0] if name in board else np.nan for name in (f"{c}_floor", f"{c}_floor_sd"))
        ideal.append(
            "" if np.isnan(floor) else digits(floor) if np.isnan(spread) else f"{digits(floor)} ± {spread:.2g}"
        )
    return [*lines, f"| *ideal sampler* | {' | '.join(ideal)} | | | | |"]


def ranked(results: Path, dataset: str) -> list[str]:
    """The variants of a dataset, best first."""
    primary, label = next(iter(COLUMNS[dataset].items()))
    board = pd.read_csv(results / "leaderboard.csv")
    board = board[board.dataset == dataset].sort_values(primary, ascending="↓" in label)
    return [str(name) for name in board.variant]


def grids(results: Path, dataset: str, rows: int) -> Iterator[tuple[str, Image.Image]]:
    """The first rows of the last grid of each variant's median seed: of the others none is kept."""
    for name in ranked(results, dataset):
        (path,) = results.glob(f"{dataset}/{name}/seed-*/samples/*.png")
        image = Image.open(path)
        yield name, image.crop((0, 0, image.width, image.height * rows // 8))


def plots(results: Path, dataset: str) -> Iterator[tuple[str, Image.Image]]:
    """The last points of each variant's median seed, the true modes as circles."""
    for name in ranked(results, dataset):
        (path,) = results.glob(f"{dataset}/{name}/seed-*/samples/points.csv")
        centres = np.array(json.loads((path.parents[1] / "record.json").read_text())["reference"]["centres"])
        reach = 1.25 * np.abs(centres).max()
        plot = Image.new("L", (SIDE, SIDE), 255)
        pen = ImageDraw.Draw(plot)
        for x, y in (centres / reach + 1) * SIDE / 2:
            pen.ellipse((x - 5, SIDE - y - 5, x + 5, SIDE - y + 5), outline=170)
        points = (pd.read_csv(path)[["x", "y"]].to_numpy() / reach + 1) * SIDE / 2
        for x, y in points[((points >= 0) & (points < SIDE)).all(axis=1)]:
            pen.point((x, SIDE - y), fill=0)
        yield name, plot


def sheet(panels: Iterable[tuple[str, Image.Image]], columns: int, target: Path) -> None:
    """Write pictures side by side, each under its name."""
    shown = list(panels)
    width, height = shown[0][1].size
    width, height = width + 8, height + TOP
    page = Image.new("RGB", (columns * width, -(-len(shown) // columns) * height), "white")
    pen = ImageDraw.Draw(page)
    for i, (name, picture) in enumerate(shown):
        left, above = i % columns * width + 4, i // columns * height
        pen.text((left + 2, above + 3), name, fill="black")
        page.paste(picture, (left, above + TOP))
    page.quantize(64).save(target, optimize=True)


def main(results: Path) -> None:
    page = ROOT / "docs" / "variants.md"
    text = page.read_text()
    for dataset in re.findall(r"^<!-- (\S+) -->$", text, re.MULTILINE)[::2]:
        mark = f"<!-- {dataset} -->"
        block = "\n".join([mark, *table(results, dataset), mark])
        text = re.sub(f"{mark}.*{mark}", lambda _, block=block: block, text, flags=re.DOTALL)
    page.write_text(text)
    docs = ROOT / "docs"
    for dataset in filter(lambda name: (results / name).is_dir(), COLUMNS):
        if dataset in ("ring8", "grid25"):
            sheet(plots(results, dataset), 6, docs / f"{dataset}.png")
        else:
            sheet(grids(results, dataset, 2), 3, docs / f"{dataset}.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, nargs="?", default=ROOT / "results" / "reference")
    main(parser.parse_args().results)
