"""Asks plugins and datasets about themselves, before a sweep begins, in jobs of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct

from ganbench.executors import Executor, Job
from ganbench.executors.leases import Leases
from ganbench.executors.running import End, Ended, run_jobs, run_one_job
from ganbench.results.schema import Faults, Identity, Record, Reference, Scores
from ganbench.results.spec import Planned
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError
from ganbench.utils.files import StoreError
from ganbench.utils.typed_json import convert


def ask(
    executor: Executor,
    payloads: list[dict[str, Any]],
    deadline: float | None = None,
    memory: float | None = None,
    cpus: float = 1,
    gpus: float = 0,
    leases: Leases | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Run small jobs and return their results in order; raises UsageError, with the reason, if one fails.

    The limits are a variant's, whose code must not hang or fill the machine before its trials begin. Cores and GPUs are
    those of the trials: what is described is where they will run. ``leases``: the GPUs of jobs that compute on one;
    ``note``: is told of one that fails.
    """

    def job(payload: dict[str, Any]) -> Job:
        limits = (deadline, memory) if payload["kind"] == "variant" else (None, None)
        return Job(payload, cpus, gpus, *limits)

    runs = run_jobs(
        executor,
        range(len(payloads)),
        lambda number: job(payloads[number]),
        leases=leases,
        title=lambda number: _what(payloads[number]),
        note=note if leases is not None else lambda text: None,
    )
    ended: dict[int, Ended] = {}
    results: list[dict[str, Any]] = []
    for number, end in runs:
        ended[number] = end
        while len(results) in ended:  # of several that fail, the first is named
            payload, first = payloads[len(results)], ended[len(results)]
            if first.lost and first.how is not End.MACHINE_LOST and payload.get("build"):
                # If it was building the variant that ended the process, its trials will record it.
                first = run_one_job(executor, job({**payload, "build": False}))
            results.append(_answer(executor, payload, first))
    return results


def _answer(executor: Executor, payload: dict[str, Any], ended: Ended) -> dict[str, Any]:
    """What a job returned; raises UsageError where that is nothing."""
    if ended.returned:
        return ended.result
    if ended.how is End.USAGE:
        raise UsageError(ended.reason)
    if ended.how is End.UNWRITABLE:
        raise StoreError(ended.reason)
    if ended.device_fault:
        raise UsageError(ended.reason)
    what = f"{_what(payload)} cannot be used: {ended.reason}"
    if ended.lost:
        raise UsageError(f"{what} while it was being asked about itself{_broken_plugins(executor)}")
    raise UsageError(f"{what}; --executor inline shows the traceback" if executor.isolated else what)


def _what(payload: dict[str, Any]) -> str:
    return f"{payload['kind']} {payload.get('variant') or payload.get('dataset')}"


def _broken_plugins(executor: Executor) -> str:
    """The installed plugins that end whatever imports them, for a message."""
    ended = run_one_job(executor, Job({"kind": "broken", "threads": 1, "device": "cpu"}))
    broken = ended.result.get("broken", [])
    found = [f"{bad['entry']} ({bad['distribution']}): {bad['reason']}" for bad in broken]
    return f". These plugins cannot be imported: {'; '.join(found)}" if found else ""


class Known(Struct, frozen=True):
    """The scale of a dataset's real side, and the floors of metrics.

    ``floor_notes`` has those that cannot be computed, ``floor_spreads`` the standard deviations over draws.
    """

    reference: Reference
    floors: Scores
    floor_notes: Faults = {}
    floor_spreads: Scores = {}


def reference_key(trial: Planned) -> tuple[str, ...]:
    """What a trial's floors and scale are computed for."""
    return _key(trial.spec.identity, trial.environment)


def references(
    records: list[Record],
    executor: Executor,
    trials: list[Planned],
    threads: int,
    cpus: float = 1,
    gpus: float = 0,
    leases: Leases | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[tuple[str, ...], Known]:
    """What ``reference_key`` of the trials stands for; earlier records are asked first."""
    needed: dict[tuple[str, ...], Planned] = {}
    for trial in trials:
        needed.setdefault(reference_key(trial), trial)
    found = _known_references(records, needed)
    missing = {
        key: trial
        for key, trial in needed.items()
        if key not in found or not set(trial.metrics) <= found[key].floors.keys()
    }
    jobs = [
        {
            "kind": "reference",
            "dataset": trial.spec.dataset,
            "extractor": trial.spec.protocol.extractor,
            "samples": trial.spec.protocol.samples,
            "split": trial.spec.protocol.split,
            "metrics": list(trial.metrics),
            "device": trial.device,
            "threads": threads,
        }
        for trial in missing.values()
    ]
    answers = ask(executor, jobs, cpus=cpus, gpus=gpus, leases=leases, note=note)
    try:
        return found | {key: convert(answer, Known) for key, answer in zip(missing, answers, strict=True)}
    except ValueError as reason:
        raise UsageError(f"the reference of a dataset cannot be used: {reason}") from None


def _known_references(records: list[Record], needed: dict[tuple[str, ...], Planned]) -> dict[tuple[str, ...], Known]:
    """What earlier records of the same dataset and evaluation already hold, of metrics whose code is the same."""
    found: dict[tuple[str, ...], Known] = {}
    for record in records:
        key = _key(record.identity, record.environment)
        # One that an earlier version left says less: what a record holds must not depend on its neighbours.
        if key in needed and record.reference.features is not None:
            known = found.setdefault(key, Known(record.reference, {}, {}, {}))
            changed = needed[key].changed_metrics(record)
            for name, about in record.metrics.items():
                if name in changed:
                    continue
                known.floors[name] = about.floor
                if about.floor_spread is not UNSET:
                    known.floor_spreads[name] = about.floor_spread
                if about.floor_note is not UNSET:
                    known.floor_notes[name] = about.floor_note
    return found


def _key(identity: Identity, environment: dict[str, Any]) -> tuple[str, ...]:
    """What decides a floor: the data, the extractor and n, and the environment without the plugin's own package."""
    packages = environment.get("packages", {})
    others = {name: version for name, version in packages.items() if name != identity.trial.distribution}
    shared = {**environment, "packages": {**others, "ganbench": packages.get("ganbench")}}
    return (
        identity.trial.dataset,
        identity.trial.dataset_hash,
        identity.evaluation_hash,
        canonical_json.sha256(shared),
    )
