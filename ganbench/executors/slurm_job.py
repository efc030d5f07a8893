"""A batch job of SLURM: the function that submitit runs on the node, and how the job ended."""

from __future__ import annotations

import os
import platform
import signal
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganbench.executors import DeadlineExceeded, EngineLost, Job, MachineLost, OutOfMemory, WorkerDied
from ganbench.executors.remote import Message, last_line, run
from ganbench.utils.files import read_plain

MOST_LOG = 1 << 20  # bytes of a job's standard error of which the last line is shown


@dataclass
class Submitted:
    """A job, its future, submitit's own once it is in the queue, and since when it runs or has ended
    (``time.monotonic``).
    """

    job: Job
    batch: Any = None
    future: Future[dict[str, Any]] = field(default_factory=Future)
    state: str = "PENDING"
    started: float | None = None
    ended: float | None = None


def work(message: Message) -> Message:
    """Run a job on a node of the cluster.

    Before its time limit SLURM sends a signal at which submitit would put the job into the queue again, or give it up.
    It is ignored: ``executors.running`` decides whether a job is tried again.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    given = os.environ.get("SLURM_JOB_GPUS") or os.environ.get("SLURM_STEP_GPUS")
    if given and not message["gpus"] and message["payload"].get("device") not in (None, "cpu"):
        return {
            "refused": f"SLURM gave a trial GPU {given} of {platform.node()}, and it would run on the CPU: "
            "--gpus-per-trial 1 has trials use it, --device cpu leaves it idle"
        }
    return run(message)


def loss(name: str, one: Submitted) -> Exception:
    """What the future of a job raises that ended without a result."""
    what = f"SLURM job {name}"
    if one.state == "OUT_OF_MEMORY":
        return OutOfMemory(f"{what} was ended for want of memory", -signal.SIGKILL)
    if one.state == "CANCELLED":
        return WorkerDied(f"{what} was cancelled", -signal.SIGTERM)
    if one.state == "TIMEOUT" and one.job.deadline is not None:
        return DeadlineExceeded(f"it ran longer than {one.job.deadline:g} s")
    said = _said(one.batch)
    how = one.state.lower().replace("_", " ")
    return MachineLost(f"{what} ended without a result ({how}{': ' + said if said else ''})")


def _said(job: Any) -> str:
    """The last line of a job's standard error, empty where there is none."""
    try:
        return last_line(read_plain(Path(job.paths.stderr), MOST_LOG).decode(errors="replace"))
    except (OSError, AttributeError):
        return ""


def answer(job: Any) -> Message:
    """What a job left as its result."""
    outcome, content = job._get_outcome_and_result()
    if outcome != "success":
        raise EngineLost(f"a worker could not begin: {last_line(str(content))}")
    found: Message = content
    return found
