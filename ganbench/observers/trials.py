"""What observers tell of a trial: the numbers of each evaluation by name, and at its end verdict and pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.utils import canonical_json

WATCHED = (
    "losses",
    "gradient_norms",
    "parameter_norms",
    "d_scores",
    "updates",
    "d_auc",
    "d_auc_train",
    "d_accuracy_real",
    "d_accuracy_fake",
    "d_accuracy_train",
    "trace",
    "modes",
)
FILM_RATE = 5.0  # frames a second


def name_of(trial: Mapping[str, Any]) -> str:
    """``seed-0-1a2b3c4d``: another source, hyperparameter or budget is another run."""
    return f"seed-{trial['seed']}-{canonical_json.sha256(dict(trial))[:8]}"


def numbers(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The known numbers of an evaluation by tag: ``metrics/fid``, ``losses/generator``, ``discriminator/d_auc``."""
    watch = evaluation.get("watch") or {}
    found = {f"metrics/{name}": value for name, value in evaluation["values"].items() if value is not None}
    return found | dict(_numbers({name: watch.get(name) for name in WATCHED}))


def _numbers(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            yield (f"{before}{name}" if before else f"discriminator/{name}"), float(value)


@dataclass(frozen=True)
class End:
    """How a trial ended: ``facts`` by name (status, verdict, final scores), and ``pictures`` by file name."""

    facts: dict[str, str | float]
    pictures: dict[str, bytes]


def end_of(record: Mapping[str, Any], folder: str) -> End:
    """What is told of a finished trial; ``folder`` is its own, in which its pictures stand."""
    from ganbench.analysis.ranking import trials_table
    from ganbench.reporters.film import film, panel
    from ganbench.reporters.trials import Trial
    from ganbench.results.schema import Record
    from ganbench.utils.typed_json import convert

    known = convert(record, Record)
    place, about = Path(folder), dict(trials_table([known]).iloc[0])
    facts: dict[str, str | float] = {"status": known.status, "verdict": str(about["verdict"] or "none")}
    facts |= {name: str(about[name]) for name in ("reason", "note", "evidence") if about[name]}
    facts |= {f"final/{name}": value for name, value in known.values.items() if value is not None}
    last = max((place / "samples").glob("*.png"), key=lambda path: int(path.stem), default=None)
    paths = [*([last] if last else []), *sorted((place / "pictures").glob("*.png"))]
    pictures = {"samples.png" if path is last else path.name: path.read_bytes() for path in paths}
    with contextlib.suppress(ValueError):  # it left no film, or failed before its second evaluation
        pictures["film.gif"] = film([panel(Trial(about, known, place, {}), place)], ".gif", FILM_RATE)
    return End(facts, pictures)
