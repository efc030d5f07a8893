"""The page of a trial, ``trials/<id>.html``: settings, scores, curves, pictures, and the command to repeat it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import UNSET
from msgspec.structs import asdict

from ganbench.analysis.stability import MEANINGS, UNSTABLE
from ganbench.reporters.formatting import number, ordered, thousands, titled
from ganbench.reporters.glossary import TRAINING, explained
from ganbench.reporters.pictures import (
    MOST_BYTES,
    film_frames,
    picture,
    projected,
    sample_pictures,
    scatters,
    training_pictures,
)
from ganbench.reporters.training_curves import trial_curves
from ganbench.reporters.trials import Trial, nondeterministic
from ganbench.results.presets import preset_of
from ganbench.results.schema import Record
from ganbench.results.spec import LANES, SEEDS
from ganbench.utils.errors import MOST_CHARACTERS, printable
from ganbench.utils.files import leads_outside, read_plain

TAIL = 60  # lines of a log
MOST_PICTURES = 12


def describe(trial: Trial, root: Path) -> dict[str, Any]:
    """Everything that a trial's page shows, as text and numbers; ``trial`` has a record.

    What is missing or broken in its folder below ``root`` is left out.
    """
    record, about = trial.record, trial.about
    assert record is not None
    mark = None
    if trial.word in UNSTABLE:
        seen = record.evaluations[-1].images_seen if record.evaluations else 0
        mark = (trial.images if trial.images is not None else seen, trial.word)
    centres = record.reference.centres or []
    inside = trial.place is not None and not leads_outside(trial.place, root)
    place = trial.place if inside else None
    return {
        "title": f"{about['variant']} on {about['dataset']}, seed {trial.seed}",
        "about": {
            name: str(about[name] or "") for name in ("variant", "dataset", "status", "reason", "note", "evidence")
        },
        "word": trial.word,
        "meaning": (means := MEANINGS.get(trial.word, ""))[:1].upper() + means[1:],
        "at": trial.images,
        "scores": list(scores(record)),
        "words": explained([TRAINING], [*record.metrics, "ideal-sampler"]),
        "courses": trial_curves(record, mark),
        "samples": _samples(place, root, centres, mark) if place else [],
        "projected": projected(record),
        "pictures": training_pictures(place, root) if place else [],
        "command": command(record),
        "facts": list(facts(trial)),
        "environment": list(flat(record.environment)),
        "hyperparameters": list(flat(record.identity.trial.hyperparameters)),
        "log": tail(place, root) if place else "",
    }


def _samples(place: Path, root: Path, centres: list[list[float]], mark: tuple[int, str] | None) -> list[dict[str, Any]]:
    """The same latents at each evaluation: one sees it learn. Earlier versions kept a few; then those.

    ``unstable``: whether the training had become unstable by then, as ``mark`` says.
    """
    found = film_frames(place, root, centres)
    if not found and not leads_outside(place / "samples", root):
        for images, path in sample_pictures(place)[-MOST_PICTURES:]:
            if drawn := picture(path):
                found.append({"images": images, **drawn})
        found = found or scatters(place / "samples" / "points.csv", centres, last=False)
    for figure in found:
        figure["unstable"] = mark is not None and figure["images"] >= mark[0]
    return found


def scores(record: Record) -> Iterator[tuple[str, str, str, str]]:
    """Of each metric its name, its label, the value at the end of training, and the floor."""
    extractor = record.identity.evaluation.extractor
    metrics = record.metrics
    for name in ordered(metrics):
        about, value = metrics[name], record.values.get(name)
        if value is not None:
            yield name, titled(about, extractor), number(value), number(about.floor)


def facts(trial: Trial) -> Iterator[tuple[str, str]]:
    """Names and values of what a record says of its protocol, size, cost and hashes."""
    record = trial.record
    assert record is not None
    both = {**asdict(record.identity.trial), **asdict(record.identity.evaluation)}
    for name in (
        "budget_images",
        "batch_size",
        "samples",
        "curve_samples",
        "evaluations",
        "split",
        "extractor",
        "precision",
        "engine",
        "device",
    ):
        if both[name] is UNSET:
            continue
        yield name.replace("_", " "), f"{both[name]:,}" if isinstance(both[name], int) else str(both[name])
    for role, count in record.parameters.items():
        yield f"parameters, {role}", f"{count:,}"
    if operations := nondeterministic(trial):
        yield "bits may not repeat, by", ", ".join(operations)[:MOST_CHARACTERS]
    for name, value in trial.cost.items():
        yield name.replace("_", " "), thousands(value)
    for name in ("distribution", "source", "dataset_hash", "extractor_hash"):
        yield name.replace("_", " "), str(both[name])
    name = preset_of(record)
    yield "protocol", f"{record.identity.protocol}{f' ({name})' if name else ''}"
    yield "record, SHA-256", record.sha256
    yield "state, SHA-256", record.state_sha256 or ""


def flat(values: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Names and values of nested objects, joined by dots; a stranger's long ones are cut."""
    for name, value in sorted(values.items()) if isinstance(values, dict) else ():
        if isinstance(value, dict):
            yield from flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}"[:MOST_CHARACTERS], str(value)[:MOST_CHARACTERS]


def command(record: Record) -> str:
    """The command line that trains the trial again; in a folder without its record it makes the same one."""
    trial, evaluation = record.identity.trial, record.identity.evaluation
    seed, together = trial.seed, trial.engine == SEEDS
    first = seed - seed % LANES  # one alone would be left to the serial engine, and its ten takes no longer
    extractor, at, digest = evaluation.extractor.partition("@")
    metrics = [name for name in ordered(record.metrics) if "." not in name]
    words = [
        "ganbench",
        "run",
        "--plugins",
        trial.variant,
        "--datasets",
        trial.dataset,
        "--seeds",
        f"{first}-{first + LANES - 1}" if together else f"{seed},",
    ]
    words += ["--images", str(trial.budget_images), "--batch-size", str(trial.batch_size)]
    words += ["--evaluations", str(evaluation.evaluations), "--samples", str(evaluation.samples)]
    words += ["--curve-samples", str(evaluation.curve_samples or evaluation.samples)]
    words += ["--reference", evaluation.split] if evaluation.split != "test" else []
    words += ["--extractor", extractor] + (["--weights", f"FILE-OF-{digest}"] if at else [])
    words += ["--metrics", ",".join(metrics)] if metrics else []
    words += ["--device", trial.device]
    of_file, _, file = trial.distribution.partition(":")
    words += ["--plugin-path", file] if of_file == "file" and file else []
    # A label names the hyperparameters that are not the defaults of the code that trained it.
    named = set(re.findall(r"[\[,]([A-Za-z_]\w*)=", record.label))
    for name, value in sorted(trial.hyperparameters.items()):
        if name in named:
            words += ["--set", f"{trial.variant}.{name}={value}"]
    threads = record.environment.get("threads", 1)
    words += ["--threads", str(threads)] if threads != 1 else []
    words += ["--precision", trial.precision] if trial.precision != "fp32" else []
    words += ["--engine", trial.engine] if together else []
    return printable(shlex.join(words))


def tail(place: Path, root: Path, lines: int = TAIL) -> str:
    """The last lines of what the trial printed."""
    path = place / "log.txt"
    try:
        text = "" if leads_outside(path, root) else read_plain(path, MOST_BYTES).decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(printable(line[:MOST_CHARACTERS]) for line in text.splitlines()[-lines:])
