"""``ganbench check``: the conformance checks of a plugin, each in a process of its own."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import click

from ganbench import __version__
from ganbench.cli.new import KINDS
from ganbench.cli.options import Positive, names_option, plugin_options
from ganbench.executors import Executor, Job, on_this_machine
from ganbench.executors.running import End, Ended, run_jobs, run_one_job
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_FAILED, UsageError, printable

# What a check came to. Two of them make the exit code 1: failed, and passed although it was expected to fail.
MEANINGS = {
    "passed": "the plugin conforms",
    "failed": "the plugin does not conform",
    "skipped": "the check does not apply",
    "known": "it fails, as expected_failed_checks says",
    "outdated": "it passes, and expected_failed_checks says that it fails: take the entry out",
}
BAD = ("failed", "outdated")
ALONE = ("time_per_step",)  # measured when nothing else runs


@click.command("check")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--kind", type=click.Choice(list(KINDS)), help="Of the plugins.  [default: any]")
@names_option("--checks", help="Only these.  [default: all]")
@click.option(
    "--timeout",
    type=Positive(),
    metavar="SECONDS",
    default=100.0,
    show_default=True,
    help="A check that runs longer has failed.",
)
@click.option("--jobs", "-j", type=click.IntRange(1), help="Checks at a time.  [default: cores]")
@click.option(
    "--executor",
    default="local",
    show_default=True,
    help="Engine: local (a process a check) or inline (this process, for debuggers).",
)
@plugin_options
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def command(
    names: tuple[str, ...],
    kind: str | None,
    checks: tuple[str, ...],
    timeout: float,
    jobs: int | None,
    executor: str,
    as_json: bool,
) -> None:
    """Check that a plugin keeps the contract, by named checks.

    Each check runs in a process of its own: one in which the plugin hangs, or ends the process, has failed, and the
    others go on. A failed one says what was seen, why it matters and what to do. Checks that a plugin is known to fail
    stand, with reasons, in its attribute expected_failed_checks; one of them that passes is reported too. The same
    checks run under pytest with ganbench.conformance.parametrize_with_checks.

    \b
    Exit codes: 0 all passed (known failures aside), 1 some failed, 2 there is no such plugin or it cannot be imported.

    \b
    Examples:
      ganbench check my-gan
      ganbench check my-gan --plugin-path my_gan.py
      ganbench check my-gan --checks exact_resume,devices --json
    """
    sys.exit(check(Options(names, kind, checks, timeout, jobs, executor, as_json)))


@dataclass(frozen=True)
class Outcome:
    """One check of one plugin; ``seconds`` is None where it was ended."""

    name: str
    status: str
    message: str
    reason: str
    seconds: float | None


@dataclass(frozen=True)
class Options:
    """What ``ganbench check`` was asked for; ``checks`` empty means all."""

    names: tuple[str, ...]
    kind: str | None
    checks: tuple[str, ...]
    timeout: float
    jobs: int | None
    executor: str
    as_json: bool


def check(options: Options) -> int:
    """Check plugins, print what was found, and return the exit code."""
    with on_this_machine(options.executor, options.jobs) as engine:
        found = [about for name in options.names for about in _subjects(engine, name, options)]
        _choose(found, options.checks)
        outcomes = [_outcomes(engine, about, options) for about in found]
    if options.as_json:
        _write_json(found, outcomes)
    else:
        for about, of in zip(found, outcomes, strict=True):
            _print(about, of)
    return EXIT_FAILED if any(o.status in BAD for of in outcomes for o in of) else EXIT_COMPLETED


def _subjects(engine: Executor, name: str, options: Options) -> list[dict[str, Any]]:
    """What is installed under a name; raises UsageError, also where importing it does not end, or ends the process."""
    payload = {"kind": "checks", "name": name, "of": options.kind, **_COMMON}
    ended = run_one_job(engine, Job(payload, deadline=options.timeout))
    if ended.lost:
        raise UsageError(f"{name} cannot be checked: {ended.reason} while it was imported")
    if not ended.returned:
        hint = "; --executor inline shows the traceback" if ended.how is End.FAILED else ""
        raise UsageError(ended.reason + hint)
    found: list[dict[str, Any]] = ended.result["subjects"]
    return found


def _choose(found: list[dict[str, Any]], names: tuple[str, ...]) -> None:
    """Leave only the checks of those names, if there are any; raises UsageError for one that no plugin here has."""
    known = {about["kind"]: [one["name"] for one in about["checks"]] for about in found}
    if unknown := sorted(set(names).difference(*known.values())):
        has = "; ".join(f"a {kind} has {', '.join(checks)}" for kind, checks in known.items())
        raise UsageError(f"--checks {', '.join(unknown)}: {has}")
    for about in found if names else ():
        about["checks"] = [one for one in about["checks"] if one["name"] in names]


_COMMON = {"device": "cpu", "threads": 1}


def _outcomes(engine: Executor, about: dict[str, Any], options: Options) -> list[Outcome]:
    """Run the checks of one plugin, several at a time."""

    def job(one: dict[str, Any]) -> Job:
        payload = {"kind": "check", "name": about["name"], "of": about["kind"], "check": one["name"], **_COMMON}
        return Job(payload, deadline=options.timeout)

    done: dict[str, Outcome] = {}
    together = [one for one in about["checks"] if one["name"] not in ALONE]
    for part in (together, [one for one in about["checks"] if one["name"] in ALONE]):
        for one, ended in run_jobs(engine, part, job):
            done[one["name"]] = _outcome(one, ended)
            if not options.as_json:
                _tell(len(done), len(about["checks"]), about, done[one["name"]])
    return [done[one["name"]] for one in about["checks"]]


def _outcome(one: dict[str, Any], ended: Ended) -> Outcome:
    status, message = ended.result.get("status", "failed"), ended.result.get("message", ended.reason)
    if ended.how is End.DEADLINE:
        message += ", and was ended: it hangs, or --timeout is too short"
    elif ended.lost:
        message += ": the plugin, or a library of its own, ended it"
    if one["expected"]:
        if status == "failed":
            status, message = "known", f"{one['expected']} ({message})"
        elif status == "passed":
            status, message = "outdated", f"expected_failed_checks says: {one['expected']}"
    seconds = ended.result.get("seconds")
    return Outcome(one["name"], status, message, one["reason"], None if seconds is None else round(seconds, 2))


def _tell(done: int, total: int, about: dict[str, Any], outcome: Outcome) -> None:
    """Progress, on a terminal alone."""
    if sys.stderr.isatty():
        end = "\r" if done < total else "\r\033[K"
        print(
            printable(f"{about['name']}: {done}/{total} {outcome.name}").ljust(70), end=end, file=sys.stderr, flush=True
        )


def _print(about: dict[str, Any], outcomes: list[Outcome]) -> None:
    source = f" ({about['distribution']} {about['version']})".replace(" )", ")") if about["distribution"] else ""
    say(f"{about['kind']} {about['name']}{source}")
    lines = [["check", "status", "seconds", "remark"]]
    for o in outcomes:
        seconds = "" if o.seconds is None else f"{o.seconds:.1f}"
        lines.append([o.name, o.status, seconds, "" if o.status in BAD else o.message])
    print(plain(lines))
    for same in _by_message([o for o in outcomes if o.status in BAD]):
        first, *others = same
        say(f"{first.name}: {first.status}: {MEANINGS[first.status]}")
        say(f"  seen: {first.message}")
        if others:  # one cause, and the reasons of a dozen checks would hide it
            say(f"  for the same reason failed {', '.join(o.name for o in others)}: mend this, and check again")
        else:
            say(f"  why it matters: {first.reason}")
    counts = {status: sum(o.status == status for o in outcomes) for status in MEANINGS}
    said = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    say(f"{about['name']}: {said}")


def _by_message(outcomes: list[Outcome]) -> list[list[Outcome]]:
    """Outcomes of one status and message together, in the order of the first of each."""
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for o in outcomes:
        groups.setdefault((o.status, o.message), []).append(o)
    return list(groups.values())


def _write_json(found: list[dict[str, Any]], outcomes: list[list[Outcome]]) -> None:
    plugins = []
    for about, of in zip(found, outcomes, strict=True):
        passed = not any(o.status in BAD for o in of)
        plugins.append({**about, "passed": passed, "checks": [asdict(outcome) for outcome in of]})
    json.dump({"ganbench": __version__, "plugins": plugins}, sys.stdout, indent=2)
    print()
