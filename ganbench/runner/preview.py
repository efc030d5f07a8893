"""Prints what ``ganbench run --dry-run`` tells: what would be trained, in which order, and how long that takes."""

from __future__ import annotations

import sys
from itertools import chain

from ganbench.results.spec import Planned
from ganbench.results.store import Store, read_records
from ganbench.runner.estimates import Estimates, makespan
from ganbench.runner.planning import Plan
from ganbench.utils.console import plain, say
from ganbench.utils.errors import EXIT_COMPLETED, EXIT_FAILED

TO_RUN = ("new", "interrupted", "damaged")  # states of trials that ``ganbench run`` trains


def preview(plan: Plan, store: Store, slots: int | None) -> int:
    """Print what would be trained, in the order in which it would begin, and how long that takes; return the exit code.

    It is 1 where a network could not be built: its trials would end in an error.

    Args:
        slots: trials at a time, if that is known.
    """
    estimates = Estimates(store, read_records(store.root).records)
    lines = [["trial", "images", "state", "expected"]]
    left: list[Planned] = []
    devices = min(len(plan.devices) or 1, slots or 1)
    for trial in chain.from_iterable(estimates.longest_first(plan.trials, devices)):
        state, seconds = store.state(trial.spec), estimates.seconds(trial)
        if state in TO_RUN:
            left.append(trial)
        expected = "" if state not in TO_RUN else "unknown" if seconds is None else f"{seconds:.0f} s"
        lines.append([trial.title, str(trial.spec.protocol.budget_images), state, expected])
    if plan.trials:
        sys.stdout.write(plain(lines))
    known = sum(estimates.seconds(trial) is not None for trial in left)
    jobs = [s for job in estimates.longest_first(left, devices) if (s := estimates.job_seconds(job)) is not None]
    if known:
        text = f"{known} of {len(left)} trials to run are expected to take {sum(jobs):,.0f} s, going by earlier ones"
        say(text if slots is None else f"{text}: {makespan(jobs, slots):,.0f} s at {slots} at a time")
    say(f"{len(left)} trials to run, {len(plan.trials) - len(left)} finished earlier", sys.stderr)
    return EXIT_FAILED if plan.broken else EXIT_COMPLETED
