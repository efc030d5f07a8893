"""The real side of a sweep's trials: floors and scale for each dataset and evaluation, computed once."""

from __future__ import annotations

from typing import Any

from ganbench.executors import Executor
from ganbench.runner.planning import Planned
from ganbench.runner.preflight import ask
from ganbench.utils import canonical_json


def references(
    records: list[dict[str, Any]],
    executor: Executor,
    trials: list[Planned],
    threads: int,
    cpus: float = 1,
    gpus: float = 0,
) -> dict[tuple[str, ...], dict[str, Any]]:
    """``{"reference": ..., "floors": ...}`` by ``reference_key`` of the trials; earlier records are asked first."""
    needed: dict[tuple[str, ...], Planned] = {}
    for trial in trials:
        needed.setdefault(reference_key(trial), trial)
    found = _known_references(records, set(needed))
    missing = {
        key: trial
        for key, trial in needed.items()
        if not set(trial.metrics) <= found.get(key, {"floors": {}})["floors"].keys()
    }
    jobs = [
        {
            "kind": "reference",
            "dataset": trial.spec.dataset,
            "extractor": trial.spec.protocol.extractor,
            "samples": trial.spec.protocol.samples,
            "metrics": list(trial.metrics),
            "device": trial.device,
            "threads": threads,
        }
        for trial in missing.values()
    ]
    return found | dict(zip(missing, ask(executor, jobs, cpus=cpus, gpus=gpus), strict=True))


def reference_key(trial: Planned) -> tuple[str, ...]:
    """What a trial's floors and scale are computed for."""
    return _key(trial.spec.trial, trial.spec.evaluation, trial.environment)


def _known_references(
    records: list[dict[str, Any]], keys: set[tuple[str, ...]]
) -> dict[tuple[str, ...], dict[str, Any]]:
    """What earlier records of the same dataset and evaluation already hold."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for record in records:
        trial, evaluation = record["identity"]["trial"], record["identity"]["evaluation"]
        key = _key(trial, evaluation, record["environment"])
        # One that an earlier version left says less: what a record holds must not depend on its neighbours.
        if key in keys and "features" in record["reference"]:
            known = found.setdefault(key, {"reference": record["reference"], "floors": {}})
            known["floors"] |= {name: about["floor"] for name, about in record["metrics"].items()}
    return found


def _key(trial: dict[str, Any], evaluation: dict[str, Any], environment: dict[str, Any]) -> tuple[str, ...]:
    """What decides a floor: the data, the extractor and n, and the environment without the plugin's own package."""
    packages = environment.get("packages", {})
    others = {name: version for name, version in packages.items() if name != trial["distribution"]}
    shared = {**environment, "packages": {**others, "ganbench": packages.get("ganbench")}}
    return (trial["dataset"], trial["dataset_hash"], canonical_json.sha256([evaluation, shared]))
