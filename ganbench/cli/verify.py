"""``ganbench verify``: whether a results folder is what its trials gave. Nothing in it is changed."""

from __future__ import annotations

import contextlib
import math
import os
import random
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import click
from msgspec import UNSET
from msgspec.structs import replace

from ganbench.cli.options import names_option, plugin_options
from ganbench.executors import Executor, Job, on_this_machine
from ganbench.executors.running import Ended, run_jobs
from ganbench.reporters import DEFAULT, load_reporters
from ganbench.results import rescored
from ganbench.results.records import MOST_BYTES, DamagedRecord, as_json, read
from ganbench.results.schema import Outcome, Record
from ganbench.results.spec import METRICS_VERSION
from ganbench.results.store import Store, read_records
from ganbench.utils import canonical_json
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_DAMAGED, EXIT_FAILED, EXIT_INTERRUPTED, UsageError
from ganbench.utils.files import leads_outside, make_folder, read_plain
from ganbench.utils.typed_json import convert

SAME, CLOSE, WRONG, UNKNOWN = "bit-identical", "within tolerance", "MISMATCH", "not checked"
TOLERANCE = 0.01  # of a number computed from a stored state in another environment, relative or of 1
ENOUGH = 3  # seeds of a row whose spread says how much two trainings of a trial in other environments may differ
OUTCOME = ("status", "reason", "evaluations", "fid_train", "state_sha256")


@click.command("verify")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--records-only", is_flag=True, help="Hashes and tables alone: no torch, no plugin is imported.")
@click.option("--rerun", type=click.IntRange(0), default=0, metavar="N", help="Train so many trials again.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws the trials of --rerun.")
@click.option("--device", help="auto, cpu, cuda, cuda:1 or mps.  [default: the kind that a trial was trained on]")
@click.option("--jobs", "-j", type=click.IntRange(1), help="Trials at a time.  [default: cores]")
@click.option("--executor", default="local", show_default=True, help="Engine: local or inline.")
@names_option("--columns", help="The --columns of ganbench report, if tables were written with it.")
@plugin_options
def command(
    results: Path,
    records_only: bool,
    rerun: int,
    seed: int,
    device: str | None,
    jobs: int | None,
    executor: str,
    columns: tuple[str, ...],
) -> None:
    """Check that a results folder is what its trials gave.

    Every record is hashed, and the tables are made again in memory and compared byte for byte with the files. Samples
    are drawn again from each completed trial's stored state, and its last evaluation is computed again. --rerun trains
    trials drawn at random once more, in a temporary folder.

    In the environment that made a record (versions, threads, CPU, device) every number must be bit-identical. In
    another one, numbers from a stored state may differ by 1 %, and a training by what seeds differ; on another type of
    device samples are others, and only the state itself can be compared. Exit code 0 if nothing is wrong, 3 if
    something is, 1 if a trial was to be trained again and was not, if the process of a check was lost, or if no trial's
    scores could be compared. Nothing in RESULTS is changed.

    \b
    Examples:
      ganbench verify ganbench-results --records-only
      ganbench verify ganbench-results --rerun 2
    """
    sys.exit(verify(results, Options(records_only, rerun, seed, device, executor, jobs, columns)))


@dataclass(frozen=True)
class Options:
    """What ``ganbench verify`` was asked for.

    Attributes:
        rerun: how many trials to train again, drawn with ``seed``.
        device: None for the kind of device that each trial was trained on.
        columns: with which tables may have been written, beside those with all.
    """

    records_only: bool = False
    rerun: int = 0
    seed: int = 0
    device: str | None = None
    executor: str = "local"
    jobs: int | None = None
    columns: tuple[str, ...] = ()


@dataclass
class Row:
    """One trial, and what was found: for each check a verdict and, where there is something to say, why.

    Attributes:
        record: as it was written; ``added``: what rescoring found since.
        undone: whether a check that was asked for did not come to its end: that is no agreement.
    """

    record: Record
    added: rescored.Rescored | None
    folder: Path
    stored: tuple[str, str] = ("", "")
    rerun: tuple[str, str] = ("", "")
    undone: bool = False


def verify(results: Path, options: Options) -> int:
    """Check a results folder, print what was found, and return the exit code."""
    contents = read_records(results)
    if not contents.records and not contents.problems:
        raise UsageError(f"there are no records in {results}; ganbench run makes them")
    rows = [_row(Store(results).place(record.identity)) for record in contents.records]
    wrong = [f"{problem.path}: {problem.reason}" for problem in contents.problems]
    wrong += [
        f"{path}: not what the records give: edited, older than they are, of another version, or with --columns that "
        "were not named here; ganbench report writes it again"
        for path in stale_tables(results, contents.records, options.columns)
    ]
    unchecked = ""
    if not options.records_only:
        try:
            with on_this_machine(options.executor, options.jobs) as engine:
                unchecked = _check_stored(engine, rows, options)
                if options.rerun:
                    _check_reruns(engine, rows, options)
        except KeyboardInterrupt:
            say("interrupted: nothing was changed", sys.stderr)
            return EXIT_INTERRUPTED
        sys.stdout.write(_table(rows, options))
    for row in rows:
        for verdict, why in (row.stored, row.rerun):
            if verdict == WRONG:
                wrong.append(f"{row.record.title} ({row.folder}): {why}")
            elif why:
                say(f"{row.record.title}: {verdict}: {why}", sys.stderr)
    say(f"{len(rows)} sound records, {len(contents.problems)} damaged; {_summary(rows, options)}")
    for text in wrong:
        say(f"WRONG: {text}", sys.stderr)
    if wrong:
        return EXIT_DAMAGED
    none = options.rerun and not options.records_only and not any(row.rerun[0] for row in rows)
    if none:
        say("no trial was trained again: there is none that completed or diverged", sys.stderr)
    if unchecked:
        say(unchecked, sys.stderr)
    return EXIT_FAILED if none or unchecked or any(row.undone for row in rows) else EXIT_COMPLETED


def stale_tables(results: Path, records: list[Record], columns: Sequence[str] = ()) -> list[Path]:
    """The tables on disk that differ by a byte from what the records give, in all columns or in ``columns``."""
    from ganbench.reporters.html import to_html
    from ganbench.reporters.report import build_report, choose_columns

    whole = build_report(records)
    made: dict[str, list[bytes]] = {}
    with tempfile.TemporaryDirectory(prefix="ganbench-verify-") as scratch:
        _copy_shown(results, Path(scratch))
        for report in (whole, choose_columns(whole, columns)) if columns else (whole,):
            for reporter in load_reporters(DEFAULT):
                reporter.write_report(report, Path(scratch))
            for path in Path(scratch).iterdir():
                if path.is_file():
                    made.setdefault(path.name, []).append(path.read_bytes())
            page = results / "leaderboard.html"
            if not (results / "trials").exists() and not _holds(page, made[page.name][-1]):
                made[page.name].append(to_html(report, Path(scratch), pages=False).encode())  # with no trials' pages
    return [
        results / name
        for name, contents in sorted(made.items())
        if os.path.lexists(results / name) and not any(_holds(results / name, content) for content in contents)
    ]


def _holds(path: Path, content: bytes) -> bool:
    """Whether a plain file has that content; a larger one is not read."""
    try:
        return read_plain(path, len(content)) == content
    except OSError:
        return False


def _copy_shown(results: Path, scratch: Path) -> None:
    """Bring along what a page shows beside the records: samples, times, and that trials were set aside."""
    for path in chain(results.glob("*/*/seed-*/cost.json"), results.glob("*/*/seed-*/samples/*")):
        if leads_outside(path, results):
            continue
        with contextlib.suppress(OSError):  # a page does without what cannot be read
            content = read_plain(path, MOST_BYTES)
            copy = scratch / path.relative_to(results)
            make_folder(copy.parent)
            copy.write_bytes(content)
    for path in (results / "superseded").glob("*/*/seed-*"):
        make_folder(scratch / path.relative_to(results))


def _row(folder: Path) -> Row:
    record = read(folder / "record.json")
    try:
        added = rescored.read(folder, record)
    except DamagedRecord:  # it is among the folder's problems
        added = None
    return Row(record, added, folder)


def _check_stored(engine: Executor, rows: list[Row], options: Options) -> str:
    """Draw samples from every stored state and compute the last evaluation again; say if that was possible for none."""
    able = []
    for row in rows:
        if row.record.status != "completed":
            row.stored = (UNKNOWN, "")  # it left no state
        elif not (row.folder / "state.safetensors").is_file():
            row.stored = (UNKNOWN, "its state.safetensors is not there")
        else:
            able.append(row)
    judged = False
    for row, ended in run_jobs(engine, able, lambda row: _job("verify", row, row.folder, options)):
        row.stored = _judge_stored(row, ended)
        row.undone = ended.lost or ended.device_fault
        judged = judged or row.stored[0] != UNKNOWN
    return "" if judged or not able else "no stored state could be checked: the lines above say why"


def _judge_stored(row: Row, ended: Ended) -> tuple[str, str]:
    if not ended.returned:
        return UNKNOWN, ended.reason
    result = ended.result
    if "unfaithful" in result:
        return WRONG, result["unfaithful"]
    exact = result["environment"] == row.record.environment
    if exact and result["differing"]:
        return WRONG, f"{', '.join(result['differing'])}: not what the record and the stored state give"
    own = compare_values(row.record.values, result["values"], exact)
    trained = row.record.identity.trial.device
    if own[0] == WRONG and result["device"] != trained:
        return UNKNOWN, (
            f"its state is the record's, but its scores cannot be compared: {result['device']} draws other random "
            f"numbers than {trained}, hence other samples ({own[1]})"
        )
    if own[0] == WRONG or row.added is None:
        return own
    added = compare_values(row.added.values, result["values"], result["environment"] == row.added.environment)
    return own if added[0] == SAME else added


def _check_reruns(engine: Executor, rows: list[Row], options: Options) -> None:
    """Train some trials again in a temporary folder."""
    able = [row for row in rows if row.record.status in ("completed", "diverged")]
    drawn = random.Random(options.seed).sample(able, min(options.rerun, len(able)))
    say(f"training {len(drawn)} trials again ...", sys.stderr)
    with tempfile.TemporaryDirectory(prefix="ganbench-verify-") as scratch:
        folders = {row.folder: Path(scratch) / str(number) for number, row in enumerate(drawn)}
        for row, ended in run_jobs(engine, drawn, lambda row: _job("rerun", row, folders[row.folder], options)):
            if ended.returned:
                row.rerun = judge_rerun(row.record, ended.result, [other.record for other in rows])
            else:
                row.rerun, row.undone = (UNKNOWN, f"it was not trained again: {ended.reason}"), True


def _job(kind: str, row: Row, folder: Path, options: Options) -> Job:
    record = row.record
    threads = record.environment["threads"]
    found = record.metrics if kind == "rerun" or row.added is None else {**record.metrics, **row.added.metrics}
    names = [name for name in found if "." not in name]
    payload = {
        "kind": kind,
        "folder": str(folder.absolute()),
        "metrics": names,
        "device": options.device,
        "threads": threads,
        **({"identity": as_json(record.identity)} if kind == "rerun" else {}),
    }
    return Job(payload, cpus=threads)


def _table(rows: list[Row], options: Options) -> str:
    heads = ["trial", "record", "stored state and metrics", *(["trained again"] if options.rerun else [])]
    lines = [[row.record.title, row.record.status, row.stored[0], row.rerun[0]][: len(heads)] for row in rows]
    return plain([heads, *lines])


def _summary(rows: list[Row], options: Options) -> str:
    if options.records_only:
        return "states and metrics were not looked at"
    parts = []
    for what, verdicts in (("states", [r.stored[0] for r in rows]), ("reruns", [r.rerun[0] for r in rows])):
        counts = [f"{verdicts.count(v)} {v}" for v in (SAME, CLOSE, WRONG, UNKNOWN) if v in verdicts]
        if counts:
            parts.append(f"{what}: {', '.join(counts)}")
    return "; ".join(parts)


def compare_values(recorded: Mapping[str, Any], found: Mapping[str, Any], exact: bool) -> tuple[str, str]:
    """The verdict on values by column, and the first one that differs too much."""
    different = [name for name in recorded if recorded[name] != found.get(name)]
    if not different:
        return SAME, ""
    for name in different:
        then, now = recorded[name], found.get(name)
        near = then is not None and now is not None and math.isclose(then, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        if exact or not near:
            return WRONG, f"{name} is {then!r} in the record and {now!r} now"
    return CLOSE, "in another environment than the record's"


def judge_rerun(record: Record, found: Mapping[str, Any], others: Iterable[Record]) -> tuple[str, str]:
    """The verdict on a trial that was trained again.

    In another environment a training ends elsewhere, as with another seed, and so it does where the record names
    operations without a deterministic kernel: then its score has to lie where those of the other seeds lie, their range
    widened by its width. Of a record of another version of the metrics, which evaluated at other times, only how the
    training ended and its weights are compared: evaluations do not change them.
    """
    outcome = convert(found, Outcome)
    version = record.identity.evaluation.metrics_version
    if earlier := version != METRICS_VERSION:
        pairs = {name: (getattr(record, name), getattr(outcome, name)) for name in ("status", "state_sha256")}
    else:
        pairs = {name: (getattr(record, name), getattr(outcome, name)) for name in OUTCOME}
        if record.evaluations and outcome.evaluations and not record.evaluations[-1].sampling_sd:
            last = replace(outcome.evaluations[-1], sampling_sd={})  # which earlier versions did not compute
            pairs["evaluations"] = record.evaluations, [*outcome.evaluations[:-1], last]
        pairs["telemetry"] = (record.telemetry, outcome.full_telemetry)
        pairs |= {name: (value, outcome.values.get(name)) for name, value in record.values.items()}
    different = [name for name, (then, now) in pairs.items() if then != now]
    if not different:
        told = f"its weights; version {version} of the metrics evaluated at other times than version {METRICS_VERSION}"
        return SAME, told if earlier else ""
    unsteady = (record.telemetry.nondeterministic if record.telemetry else UNSET) or []
    if canonical_json.sha256(outcome.environment) == record.environment_hash and not unsteady:
        name = different[0]
        then, now = pairs[name]
        return WRONG, f"trained again, {name} differs: {_short(then)} in the record and {_short(now)} now"
    where = f"with {', '.join(unsteady)}, whose bits may differ," if unsteady else "in another environment"
    primary = record.primary
    scores = [other.values.get(primary) for other in others if other.status == "completed" and _alike(other, record)]
    seeds = [value for value in scores if value is not None]
    score = outcome.values.get(primary)
    if score is None or len(seeds) < ENOUGH or len(seeds) < len(scores):
        return (
            UNKNOWN,
            f"trained {where}, and there are not {ENOUGH} seeds that say what that may change",
        )
    low, high = min(seeds), max(seeds)
    told = f"{primary} {score:.6g} {where}; the seeds of its row have {low:.6g} to {high:.6g}"
    return (CLOSE if low - (high - low) <= score <= high + (high - low) else WRONG), told


def _alike(a: Record, b: Record) -> bool:
    """Whether two trials are seeds of one row of the leaderboard."""
    mine, other = (replace(one.identity.trial, seed=0) for one in (a, b))
    return mine == other and a.identity.evaluation == b.identity.evaluation


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
