"""The leaderboard page: what it shows of each dataset and protocol, as values for its template."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganbench.reporters import leaderboard_charts, leaderboard_rows
from ganbench.reporters.formatting import seeds
from ganbench.reporters.pictures import last_samples, projected, size_of_samples
from ganbench.reporters.sections import Section
from ganbench.reporters.sentences import about_neighbours, about_table, unstable_trainings
from ganbench.reporters.training_curves import section_curves
from ganbench.reporters.trials import Trial, TrialIndex, median_first

PICTURES = 800_000  # bytes of a leaderboard's pictures, all together
FEWEST = 3_000  # bytes that each may have at least


def describe(section: Section, index: TrialIndex, keys: Mapping[str, int]) -> dict[str, Any]:
    """Everything that the page shows of a section; ``keys`` numbers the variants, which gives them their colours."""
    own: dict[str, list[Trial]] = {}
    for about in section.trials.to_dict("records"):
        own.setdefault(str(about["variant"]), []).append(index.find(about))
    variants = [(keys[str(variant)], str(variant), own.get(variant, [])) for variant in section.rows["variant"]]
    lines = leaderboard_rows.table(section, own, _superseded(index.folder, section), keys)
    curves = section_curves(section, variants)
    return {
        "id": re.sub(r"[^A-Za-z0-9._-]", "-", f"{section.dataset}-{section.protocol}"),
        "dataset": section.dataset,
        "extractor": section.extractor,
        "protocol": section.protocol,
        "conditions": section.conditions,
        "versions": _versions(own),
        "warnings": section.warnings,
        "seeds": seeds(section.trials["seed"]),
        "primary": section.metrics[0] if section.metrics else "",
        "metrics": [(m, section.label(m), section.arrow(m)) for m in section.metrics if section.shows(m)],
        "shown": {name for name in ("rank", "tier", "verdict", "seeds", "failed", "figures") if section.shows(name)},
        "rows": lines,
        "groups": [
            group for group in ([r for r in lines if r["rank"] != ""], [r for r in lines if r["rank"] == ""]) if group
        ],
        "words": sorted({word for line in lines for word in line["words"].split()}),
        "floors": leaderboard_rows.floors(section, own),
        "remarks": about_table(section),
        "neighbours": about_neighbours(section),
        "badges": [(line["variant"], word, reason) for line in lines for word, reason in line["badges"]],
        "variants": variants,
        "names": [name for _, name, _ in variants],
        "centres": section.centres,
        "courses": curves,
        # One that failed in every trial has neither value nor curve: the warning says why.
        "only_at_end": ", ".join(
            section.title(m)
            for m in section.metrics
            if curves and m not in {curve["metric"] for curve in curves} and section.rows[m].notna().any()
        ),
        "tradeoffs": leaderboard_charts.section_charts(section, variants),
        "judged": unstable_trainings(section),
        "failures": [
            {"variant": variant, "seed": trial.seed, "page": trial.page, **trial.about}
            for _, variant, several in variants
            for trial in several
            if not trial.completed
        ],
    }


def _versions(own: Mapping[str, Sequence[Trial]]) -> str:
    """``torch 2.14.1, ganbench 0.1.0, Python 3.11.7``: what trained it, every version there is."""
    found: dict[str, set[str]] = {"ganbench": set(), "torch": set(), "Python": set()}
    for several in own.values():
        for trial in several:
            environment = trial.record.environment if trial.record else {}
            packages = environment.get("packages") or {}
            for name in ("ganbench", "torch"):
                found[name].add(str(packages.get(name) or "")[:40])
            found["Python"].add(str(environment.get("python") or "")[:40])
    told = {name: " and ".join(sorted(versions - {""})) for name, versions in found.items()}
    return ", ".join(f"{name} {versions}" for name, versions in told.items() if versions)


def _superseded(folder: Path, section: Section) -> dict[str, int]:
    """How many trials of earlier code each variant has in ``superseded/``."""
    found: dict[str, int] = {}
    dataset = section.dataset.partition("@")[0]
    for path in (folder / "superseded").glob("*/*/seed-*"):
        if path.parts[-3] == dataset:
            found[path.parts[-2]] = found.get(path.parts[-2], 0) + 1
    return found


def add_samples(described: Sequence[dict[str, Any]], folder: Path) -> None:
    """Give each section the last samples of its variants' median seeds, as pictures or scatter plots.

    All pictures together have ``PICTURES`` bytes: small ones have what they need, large ones share the rest.
    """
    chosen: list[tuple[dict[str, Any], int, str, Trial, int]] = []
    for section in described:
        section["figures"] = []
        for key, variant, own in section["variants"]:
            for trial in median_first(own, section["primary"]):
                if trial.place and (size := size_of_samples(trial.place, folder)) is not None:
                    chosen.append((section, key, variant, trial, size))
                    break
    share = fair_share([size for *_, size in chosen], PICTURES, FEWEST)
    for section, key, variant, trial, _ in chosen:
        assert trial.place is not None
        if drawn := last_samples(trial.place, folder, section["centres"], share):
            seconds = trial.cost.get("wall_seconds")
            section["figures"].append(
                {
                    "key": key,
                    "variant": variant,
                    "seed": trial.seed,
                    "page": trial.page,
                    "seconds": "" if seconds is None else f"{seconds:,.0f}",
                    "rows": 8,
                    "projected": projected(trial.record) if trial.record else "",
                    **drawn,
                }
            )


def fair_share(sizes: Sequence[int], total: int, least: int) -> int:
    """The most that one may have so that all together have ``total``, none being cut below ``least``."""
    rest, left = total, len(sizes)
    for size in sorted(sizes):
        if size * left > rest:
            return max(rest // left, least)
        rest, left = rest - size, left - 1
    return max(sizes, default=least)
