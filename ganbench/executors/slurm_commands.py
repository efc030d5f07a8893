"""Calls SLURM's own commands, and makes the folder through which a sweep's batch jobs are started and answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import filelock

from ganbench.utils.errors import UsageError, one_line

PREFIX = "ganbench-"  # of a sweep's folder and the names of its jobs
COMMAND_SECONDS = 60.0  # that a command of SLURM may take; a busy controller answers late
GONE_SECONDS = 60.0  # that cancelled jobs have to leave the queue

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
RUNNING = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")


def states(name: str) -> dict[str, str] | None:
    """The state of every job of that name by its number, ended ones for some minutes; None if nobody answers."""
    answer = _call("squeue", "--noheader", "--states=all", "--format=%i %T", f"--name={name}")
    if answer is None or answer.returncode:
        return None
    return dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if " " in line)


def cancel(jobs: Sequence[str], *options: str) -> None:
    """End jobs, or send them a signal; one that has ended is no error."""
    for start in range(0, len(jobs), 500):
        _call("scancel", *options, *jobs[start : start + 500])


def cancel_all(name: str) -> bool:
    """End all jobs of a name, and wait until none runs; whether that could be seen."""
    _call("scancel", f"--name={name}")
    ends = time.monotonic() + GONE_SECONDS
    while time.monotonic() < ends:
        left = states(name)
        if left is not None and not any(state in (*WAITING, *RUNNING) for state in left.values()):
            return True
        time.sleep(0.5)
    return False


def gpus_of(partition: str) -> str | None:
    """The GPUs of a partition's nodes, such as ``gpu:a100:8``; None where some have none, or nobody says."""
    answer = _call("sinfo", "--noheader", "--format=%G", f"--partition={partition}")
    kinds = sorted(set(answer.stdout.split())) if answer is not None and answer.returncode == 0 else []
    return ", ".join(kinds) if kinds and all("gpu" in kind for kind in kinds) else None


def why_no_accounting() -> str | None:
    """What ``sacct`` says where it cannot tell how jobs ended; None where it can."""
    answer = _call("sacct", "--noheader", "--parsable2", "--format=JobID", "--starttime=now")
    if answer is None:
        return "sacct does not answer"
    return one_line(answer.stderr) or "sacct fails" if answer.returncode else None


@contextlib.contextmanager
def exchange(root: Path) -> Iterator[Path]:
    """A folder of one sweep's own, named as its jobs are; both are gone afterwards.

    What a driver that was killed left in the queue is ended first: its jobs would write into the folders of the same
    trials.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for left in root.glob(f"{PREFIX}*"):
        lock = filelock.FileLock(left / ".lock")
        with contextlib.suppress(filelock.Timeout, OSError), lock.acquire(timeout=0):
            print(f"ending the SLURM jobs that an earlier sweep left behind ({left.name})", file=sys.stderr)
            _end(left)
    # It has that name once it is locked: a sweep that begins at the same time would take it for one left behind.
    made = Path(tempfile.mkdtemp(prefix="new-", dir=root))
    with filelock.FileLock(made / ".lock"):
        folder = made.rename(root / made.name.replace("new-", PREFIX, 1))
        yield folder
        _end(folder)


def _end(folder: Path) -> None:
    """End a sweep's jobs and remove its folder; it stays where jobs may still run, for the next sweep to end them."""
    if cancel_all(folder.name):
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(
            f"SLURM does not say whether the jobs {folder.name} have ended: scancel --name={folder.name} ends them, as "
            "does the next ganbench run --executor slurm",
            file=sys.stderr,
        )


def require() -> None:
    """Raise UsageError where this machine is not one of a SLURM cluster."""
    missing = [command for command in ("sbatch", "srun", "squeue", "scancel") if shutil.which(command) is None]
    if missing:
        raise UsageError(
            f"--executor slurm: this machine has no {', '.join(missing)}; run it on a login node of the cluster"
        )
    answer = _call("squeue", "--noheader", "--user", str(os.getuid()))
    if answer is None or answer.returncode:
        said = one_line(answer.stderr) if answer else "no answer"
        raise UsageError(f"--executor slurm: the cluster's controller cannot be reached ({said})")


def _call(*command: str) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
