"""Runs a job in a worker process: ``run_job`` takes the job as JSON, does what it asks for, and returns JSON.

Each job has a process of its own, so that nothing that a plugin does, at import or later, reaches the command that the
user started or another trial.
"""

from __future__ import annotations

import contextlib
import errno
import json
import multiprocessing
import os
import platform
import resource
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from ganbench.conformance.jobs import list_checks, run_check
from ganbench.harness import describe, environment
from ganbench.harness.device_errors import DeviceLost, device_fault
from ganbench.harness.failures import explain
from ganbench.harness.seeds_engine.cohort import run_cohort
from ganbench.harness.stored_trial import rerun_trial, rescore_trial, sample_trial, verify_trial
from ganbench.harness.trial import run_trial
from ganbench.utils import failpoints, memory, seeding, signals
from ganbench.utils.errors import UsageError, one_line
from ganbench.utils.files import StoreError, make_folder, remove, store_errors

_KINDS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "dataset": describe.describe_dataset,
    "reference": describe.describe_reference,
    "variant": describe.describe_variant,
    "space": describe.describe_space,
    "broken": describe.describe_broken,
    "check": run_check,
    "checks": list_checks,
    "rerun": rerun_trial,
    "rescore": rescore_trial,
    "sample": sample_trial,
    "trial": run_trial,
    "cohort": run_cohort,
    "verify": verify_trial,
}

TRAINS = ("trial", "cohort")
# What a plugin can do to its own process or folder: no more files, small files, none where they were. It costs its
# own trial. Every other reason why a file cannot be written is the disk's, and stops the sweep.
_OWN_DOING = {errno.EMFILE, errno.EBADF, errno.EFBIG, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}


def run_job(payload: dict[str, Any]) -> dict[str, Any]:
    """Run one job in this process; ``payload["kind"]`` says what it does.

    A failure comes back as ``{"failed": reason, "usage": ...}``, a disk that cannot be written as
    ``{"unwritable": reason}``, and a device's error that is not the job's as ``{"device_fault": kind, "reason": ...}``.
    """
    try:
        return _run(payload)
    except StoreError as reason:  # its log cannot be written
        return {"unwritable": str(reason)}


def context_bytes(payload: dict[str, Any]) -> int:
    """Make the CUDA context of a job that has a limit of memory, and return the bytes of RAM that it took.

    They are the driver's and the libraries' for a first product and convolution, and no doing of the variant's. 0 on a
    CPU, and where there is no context: the job itself will say why. A job that only asks about a device makes none.
    """
    before = memory.resident(os.getpid())
    try:
        _show_gpus(payload)
        device = environment.select_device(payload["device"])
        if device.type != "cuda":
            return 0
        seeding.pin(payload["threads"])  # cuBLAS reads its settings as its context is made
        torch.cuda.get_device_name(device)
        if payload["kind"] in TRAINS:
            images = torch.ones(8, 8, 8, 8, device=device)
            torch.nn.functional.conv2d(images @ images, images)
            torch.cuda.synchronize(device)
    except Exception:
        return 0
    return max(0, memory.resident(os.getpid()) - before)


def _show_gpus(payload: dict[str, Any]) -> None:
    if payload.get("visible_gpus") is not None:  # before anything asks CUDA what there is
        os.environ["CUDA_VISIBLE_DEVICES"] = payload["visible_gpus"]


def _run(payload: dict[str, Any]) -> dict[str, Any]:
    """Run a job's payload in this process: isolate it, pin its threads, and put whatever it raises into words."""
    if payload["isolated"]:
        _isolate()
        _show_gpus(payload)
        # Not beside CUDA, which maps host memory of its own; there the watcher of the engine is alone.
        if payload.get("memory") is not None and environment.select_device(payload["device"]).type == "cpu":
            memory.limit_allocations(payload["memory"])
    seeding.pin(payload["threads"])
    # Where jobs share a process, what a plugin sets must not decide the numbers of the next.
    shared = contextlib.nullcontext() if payload["isolated"] else seeding.Settings.now().hold()
    with shared, threadpool_limits(payload["threads"]), _logged(payload):
        try:
            # As JSON and back: what a plugin slipped in that is none fails here, where it is one trial's error.
            result = json.loads(json.dumps(_KINDS[payload["kind"]](payload), allow_nan=False))
        except BaseException as reason:
            if isinstance(reason, KeyboardInterrupt) and not payload["isolated"]:
                raise  # an isolated process ignores Ctrl-C: there, only a plugin raises it
            if isinstance(reason, environment.DeviceError) and (payload.get("leased") or payload["kind"] in TRAINS):
                return {"device_fault": DeviceLost.__name__, "reason": str(reason)}  # it was there when it was planned
            if isinstance(reason, UsageError):
                return {"failed": str(reason), "usage": True}
            if isinstance(reason, StoreError):
                if getattr(reason.__cause__, "errno", None) not in _OWN_DOING:
                    return {"unwritable": str(reason)}
                return {"failed": f"{one_line(str(reason)).partition(';')[0]}, by its own doing", "usage": False}
            with contextlib.suppress(Exception):  # standard error may be closed
                traceback.print_exc()
            if (other := device_fault(reason)) is not None:
                return {"device_fault": type(other).__name__, "reason": str(other)}
            return {"failed": explain(reason), "usage": False}
    for outcome in result.get("outcomes", [result]):
        if "cost" in outcome:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            outcome["cost"]["peak_memory_bytes"] = peak * (1 if sys.platform == "darwin" else 1024)
            outcome["cost"]["host"] = platform.node()
    return result


def _isolate() -> None:
    """Leave Ctrl-C to the driver, stop at the next checkpoint on SIGTERM, and end when the driver is gone."""
    signals.handle_in_worker()
    failpoints.arm()
    driver = multiprocessing.parent_process()  # not getppid(): that may be the forkserver, which outlives the driver
    if driver is None:
        return

    def watch() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _logged(payload: dict[str, Any]) -> Iterator[None]:
    """Send what an isolated job prints, from Python or from C, to its log, or nowhere; an empty log is removed."""
    if not payload["isolated"]:
        yield
        return
    log = Path(payload.get("log", os.devnull)).absolute()
    make_folder(log.parent)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with store_errors("write", log), open(log, "ab") as file:
        if "log" in payload:
            failpoints.reach("open", log)
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a plugin may have closed or replaced it
                stream.flush()
        for descriptor, original in zip((1, 2), kept, strict=True):
            with contextlib.suppress(OSError):  # likewise
                os.dup2(original, descriptor)
                os.close(original)
        if log.is_file() and log.stat().st_size == 0:
            remove(log)
