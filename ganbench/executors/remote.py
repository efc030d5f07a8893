"""What Ray and SLURM share: how a job is sent to another machine, and how it is run there.

On the machine, Ray or SLURM starts a worker process, and that starts one clean Python process
(``ganbench.executors.host``), which gives every job a fresh process as the ``local`` engine does. So the worker imports
no torch, and what a plugin does to its own process reaches neither the worker nor the next job.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import queue
import subprocess
import sys
import threading
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ganbench import __version__
from ganbench.discovery.distributions import find_distributions
from ganbench.executors import DeadlineExceeded, Job, MachineLost, MemoryExceeded, OutOfMemory, WorkerDied
from ganbench.utils.errors import UsageError, one_line

Message = dict[str, Any]

CHECKPOINT_SECONDS = "60"  # hundreds of trials share one file system; locally it is 5
SHARED_SECONDS = 20.0  # that a network file system may take to show a new folder
PASSED_ON = "GANBENCH_"  # variables whose name begins so have their value on the driver's machine
_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (OutOfMemory, WorkerDied, DeadlineExceeded, MemoryExceeded)
}


@functools.cache  # reading them takes tens of milliseconds, and every job carries them
def versions() -> dict[str, str]:
    """The versions of ganbench and of every distribution that brings a plugin."""
    found = {"ganbench": __version__}
    for one in find_distributions()[0]:
        with contextlib.suppress(ValueError):  # damaged: it brings nothing
            found |= {one.name: one.version} if one.entries("ganbench") else {}
    return found


def outgoing(job: Job, threads: int) -> Message:
    """A job as JSON, with what the other machine must agree on."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    environment.setdefault("GANBENCH_CHECKPOINT_SECONDS", CHECKPOINT_SECONDS)
    return {
        "payload": job.payload,
        "deadline": job.deadline,
        "memory": job.memory,
        "gpus": job.gpus,
        "threads": threads,
        "versions": dict(versions()),
        "environment": environment,
        "from": platform.node(),
    }


def incoming(answer: Message) -> dict[str, Any]:
    """The result in an answer of ``Host.run``; raises what the future of such a job raises."""
    if "refused" in answer:
        raise UsageError(answer["refused"])
    if "gone" in answer:
        raise MachineLost(answer["gone"])
    if "lost" in answer:
        kind, message, exit_code = answer["lost"]
        lost = _KINDS[kind]
        raise lost(message, exit_code) if issubclass(lost, WorkerDied) else lost(message)
    result: dict[str, Any] = answer["result"]
    return result


def last_line(text: str) -> str:
    """What a traceback or a log says at its end."""
    return one_line((text.strip().splitlines() or [""])[-1])


def refusal(message: Message) -> str | None:
    """Why this machine must not run a job: other versions than the driver's, or a folder that it does not see."""
    here, there = platform.node(), message["from"]
    payload = message["payload"]
    for name, wanted in message["versions"].items():
        try:
            found = version(name)
        except PackageNotFoundError:
            if name not in payload.get("needs", ()):
                continue
            found = "missing"
        if found != wanted:
            return (
                f"{name} is {wanted} where the sweep was started ({there}) and {found} on the worker {here}: records "
                "of different code do not compare; install the same version on both"
            )
    for path in filter(None, message["environment"].get("GANBENCH_PLUGIN_PATH", "").split(os.pathsep)):
        if not Path(path).is_file():
            return (
                f"the worker {here} does not see {path}, which --plugin-path names: put it where all machines see it, "
                "or install it as a package on each"
            )
    for folder in filter(None, (*payload.get("folders", ()), payload.get("folder"))):
        if not _appears(Path(folder)):
            return (
                f"the worker {here} does not see {folder}, which {there} made: a trial's files must stand where every "
                "machine sees them; put --results on a shared file system, or name a folder of one with --storage"
            )
    return None


def _appears(folder: Path) -> bool:
    ends = time.monotonic() + SHARED_SECONDS
    while not folder.is_dir():
        if time.monotonic() > ends:
            return False
        time.sleep(0.5)
    return True


class Host:
    """The process that runs an engine's jobs on this machine, one at a time; it ends when this process does."""

    def __init__(self, threads: int, environment: dict[str, str]) -> None:
        self.about = (threads, environment)
        command = [sys.executable, "-m", "ganbench.executors.host", str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **environment}
        )
        self._ended = False
        self._answers: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                self._answers.put(json.loads(line))
            except ValueError:  # half a line, of a process that was killed
                break
        self._ended = True
        self._answers.put({"gone": f"the process that ran it on {platform.node()} was killed"})

    @property
    def alive(self) -> bool:
        return not self._ended

    def run(self, message: Message) -> Message:
        """The answer to one job. KeyboardInterrupt, by which engines cancel, asks it to stop at its next checkpoint."""
        why = refusal(message)
        if why is not None:
            return {"refused": why}
        self._send(message)
        while True:
            try:
                return self._answers.get(timeout=0.2)
            except queue.Empty:
                continue
            except KeyboardInterrupt:
                self.stop()

    def stop(self) -> None:
        self._send({"stop": True})

    def close(self) -> None:
        """End it, and the job that it runs."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):  # what was not flushed went nowhere
                pipe.close()

    def _send(self, message: Message) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is noticed where its answers are read


_host: Host | None = None


def run(message: Message) -> Message:
    """What an engine calls on the other machine: run a job in the host of this process, started where need be."""
    global _host
    about = (message["threads"], message["environment"])
    if _host is None or not _host.alive or _host.about != about:
        if _host is not None:
            _host.close()
        try:
            _host = Host(*about)
        except OSError as reason:  # no memory, no more processes: this machine's fault
            _host = None
            return {"gone": f"{platform.node()} starts no process for it ({reason.strerror})"}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") if message["gpus"] else ""
    payload = {**message["payload"], "visible_gpus": visible, "from": message["from"]}
    return _host.run({**message, "payload": payload})
