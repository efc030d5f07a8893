"""``--dry-run``: what would be trained, in which order, and how long that takes."""

from __future__ import annotations

import sys

from ganbench.display import plain, say
from ganbench.errors import EXIT_COMPLETED
from ganbench.estimates import Estimates, makespan
from ganbench.planning import Planned
from ganbench.store import Store, read_records

TO_RUN = ("new", "interrupted", "damaged")  # states of trials that ``ganbench run`` trains


def preview(trials: list[Planned], store: Store, slots: int | None) -> int:
    """Print what would be trained, in the order in which it would begin, and how long that takes; return the exit code.

    Args:
        slots: trials at a time, if that is known.
    """
    estimates = Estimates(store, read_records(store.root).records)
    lines = [["trial", "images", "state", "expected"]]
    left: list[float | None] = []
    for trial in estimates.longest_first(trials):
        state, seconds = store.state(trial.spec), estimates.seconds(trial)
        if state in TO_RUN:
            left.append(seconds)
        expected = "" if state not in TO_RUN else "unknown" if seconds is None else f"{seconds:.0f} s"
        lines.append([trial.title, str(trial.spec.protocol.budget_images), state, expected])
    sys.stdout.write(plain(lines))
    known = [seconds for seconds in left if seconds is not None]
    if known:
        text = (
            f"{len(known)} of {len(left)} trials to run are expected to take {sum(known):,.0f} s, going by earlier ones"
        )
        say(text if slots is None else f"{text}: {makespan(known, slots):,.0f} s at {slots} at a time")
    return EXIT_COMPLETED
