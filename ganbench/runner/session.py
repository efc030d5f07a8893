"""What ``ganbench run`` and ``ganbench tune`` share: an engine, a screen and observers, ended whatever happens."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ganbench.executors import EngineLost, Executor, load_executor
from ganbench.executors.leases import Leases
from ganbench.reporters import DEFAULT
from ganbench.reporters.report import write_reports
from ganbench.results.store import Store
from ganbench.runner.observers import Observers
from ganbench.runner.planning import Plan, Request, plan
from ganbench.runner.preflight import ask
from ganbench.runner.progress import display
from ganbench.runner.scheduler import Sweep
from ganbench.utils import signals
from ganbench.utils.errors import EXIT_INTERRUPTED, UsageError
from ganbench.utils.files import StoreError
from ganbench.utils.memory import GIGABYTE, measurable

NO_GPUS = ("", "-1", "NoDevFiles")  # what such a variable holds where there are none
QUICK = 200  # finished trials whose tables an interrupted sweep still writes: two to four seconds


@dataclass(frozen=True)
class EngineOptions:
    """Options that say where and how trials run. No score depends on them.

    Attributes:
        storage: where running trials write, if not in the results folder.
    """

    jobs: int | None
    executor: str
    address: str | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    trials_per_gpu: int | None
    storage: Path | None
    executor_options: tuple[str, ...]
    timeout: float | None
    memory: float | None
    retry_failed: bool
    observe: tuple[str, ...]

    @classmethod
    def pop_from(cls, options: dict[str, Any]) -> EngineOptions:
        """Take its fields out of all the options of a command."""
        return cls(**{field.name: options.pop(field.name) for field in fields(cls)})

    @property
    def memory_limit(self) -> float | None:
        """Bytes that a trial's processes may hold."""
        return None if self.memory is None else self.memory * GIGABYTE

    def load(self, threads: int) -> Executor:
        """Start the engine; raises UsageError for options that it has no use for."""
        options = {} if self.address is None else {"address": self.address}
        for text in self.executor_options:
            key, equals, value = text.partition("=")
            if not (key and equals):
                raise UsageError(f"--executor-option {text}: expected KEY=VALUE, such as partition=gpu")
            options[key] = value
        found = load_executor(self.executor, self.jobs, threads, options)
        try:
            self._check(found)
        except UsageError:
            found.close(cancel=True)
            raise
        return found

    def _check(self, engine: Executor) -> None:
        """Raise UsageError for what such an engine does in another way, and say how."""
        if engine.remote and self.trials_per_gpu:
            raise UsageError(
                f"--trials-per-gpu is for the GPUs of this machine; with --executor {self.executor} write "
                f"--gpus-per-trial {1 / self.trials_per_gpu:.3g}"
            )
        if not engine.isolated and self.trials_per_gpu:
            raise UsageError(f"--trials-per-gpu: --executor {self.executor} runs one trial at a time; leave it out")
        if not engine.remote and self.gpus_per_trial:
            shared = min(round(1 / self.gpus_per_trial), 64)  # the most that --trials-per-gpu takes
            instead = "--device cuda" if shared == 1 else f"--device cuda --trials-per-gpu {shared}"
            raise UsageError(
                "--gpus-per-trial is for engines that share out machines, such as ray; with --executor "
                f"{self.executor} write {instead}: a trial gets a GPU of this machine as it starts, or its share"
            )
        if not engine.remote and self.cpus_per_trial:
            raise UsageError(
                "--cpus-per-trial is for engines that share out machines, such as ray; with --executor "
                f"{self.executor} --jobs says how many trials run at a time, and --threads how many cores each uses"
            )

    def store(self, root: Path, name: str = "") -> Store:
        """The results folder, or the one called ``name`` in it, whose running trials write into the storage."""
        return Store(root / name, None if self.storage is None else self.storage / name)


class Session:
    """One command that trains: its engine, its display of progress, and its observers.

    Attributes:
        cpus, gpus: what a trial is given by an engine that shares out machines.
        leases: the GPUs of this machine, once it is known that trials run on them.
        hints: what is said of the tables when a sweep is interrupted.
    """

    def __init__(self, options: EngineOptions, threads: int) -> None:
        if options.memory is not None and not measurable():
            raise UsageError(
                "--memory: this system has no /proc to measure it by; run without it, and watch the machine"
            )
        self.options = options
        self.cpus, self.gpus = options.cpus_per_trial or threads, options.gpus_per_trial or 0.0
        self.leases: Leases | None = None
        self.hints: list[str] = []
        self.screen = display()
        self.observers = Observers(options.observe, lambda text: self.screen.note(text))
        try:
            self.engine = options.load(threads)
        except BaseException:
            self.observers.close()
            raise

    def ask(self, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Run small jobs that plugins answer about themselves; raises UsageError if one fails."""
        return ask(self.engine, payloads, self.options.timeout, self.options.memory_limit, self.cpus, self.gpus)

    def plan(self, request: Request, prepare: bool = True) -> Plan:
        """List the trials of a request and say what was left out; raises UsageError if there are none.

        ``prepare`` False downloads, prepares and trains nothing: see ``planning.plan``.
        """
        if self.engine.remote and request.device.startswith("cuda") and not self.gpus:
            raise UsageError(
                f"--device {request.device} with --executor {self.options.executor}: without --gpus-per-trial a trial "
                "gets no GPU; add --gpus-per-trial 1"
            )
        self.screen.note("asking plugins and datasets ...")
        planned = plan(request, self.ask, self.screen.note, prepare)
        self._lease(planned, request.device)
        for text in (*planned.notes, *planned.broken, *(f"left out: {text}" for text in planned.left_out)):
            self.screen.note(text)
        if not planned.trials and prepare:
            raise UsageError("nothing to run: every variant was left out on every dataset")
        return planned

    def _lease(self, planned: Plan, asked: str) -> None:
        """Have trials lease the GPUs of this machine, where they run on such."""
        each = self.options.trials_per_gpu
        if not planned.devices:
            return
        if not self.engine.remote and planned.devices[0] == "cpu" and (unused := unused_gpus(asked)):
            self.screen.note(unused)
        if not self.engine.remote and planned.devices[0].startswith("cuda"):
            self.leases = Leases(planned.devices, each or 1, self.options.jobs if self.engine.isolated else 1)
        elif each is not None:
            raise UsageError(
                f"--trials-per-gpu {each}: with --device {asked} trials run on {planned.devices[0]} here, of which "
                "--jobs says how many at a time; leave it out, or name --device cuda"
            )

    @property
    def slots(self) -> int | None:
        """Trials at a time, where that is known."""
        return self.engine.slots if self.leases is None else self.leases.room

    def sweep(self, store: Store, request: Request, planned: Plan) -> Counter[str]:
        """Train what is planned and not finished in a locked folder; return how many trials ended with each status.

        Where it is interrupted, the tables of what is finished are written, unless a second Ctrl-C wants it to end.
        """
        sweep = Sweep(
            store,
            self.engine,
            request,
            planned,
            self.screen,
            self.options.timeout,
            self.options.retry_failed,
            observed=self.observers.evaluated,
            finished=self.observers.finished,
            memory=self.options.memory_limit,
            cpus=self.cpus,
            gpus=self.gpus,
            leases=self.leases,
        )
        try:
            statuses = sweep.run()
        except (KeyboardInterrupt, EngineLost):
            self.screen.close()
            self.hints = self._write_finished(store)
            raise
        self.screen.close()
        self.screen = display()  # another sweep gets bars of its own
        return statuses

    def _write_finished(self, store: Store) -> list[str]:
        """Write the tables of an interrupted sweep, if that is quick; return the lines that say how to get them."""
        finished = sum(1 for _ in store.root.glob("*/*/seed-*/record.json"))
        if not finished:
            return []
        storage = [] if self.options.storage is None else ["--storage", str(self.options.storage)]
        report = f"  {shlex.join(['ganbench', 'report', '--results', str(store.root), *storage])}"
        if finished > QUICK or signals.immediate_stop_requested():
            return [f"tables of the finished trials ({finished}):", report]
        try:
            write_reports(store.root, DEFAULT, self.options.storage)
        except (KeyboardInterrupt, StoreError, UsageError) as reason:
            said = f" ({reason})" if str(reason) else ""
            return [f"tables of the finished trials ({finished}) are not written{said}; to write them:", report]
        return [f"tables of the finished trials ({finished}) are in {store.root}; to print them:", report]

    def say_how_to_continue(self, why: str) -> None:
        """The last words of a sweep that did not come to its end."""
        self.screen.close()
        self.screen.note(f"{why}: nothing finished was lost; run the same command again to continue:")
        for text in (f"  {shlex.join(['ganbench', *sys.argv[1:]])}", *self.hints):
            self.screen.note(text)


def unused_gpus(asked: str) -> str | None:
    """That GPUs were set aside for this command, and its trials run on the CPU; None where that is not so.

    ``asked``: the value of ``--device``. Who names the CPU and has CUDA_VISIBLE_DEVICES set for other work is not told.
    """
    names = ["SLURM_JOB_GPUS", "SLURM_STEP_GPUS", *(["CUDA_VISIBLE_DEVICES"] if asked == "auto" else [])]
    given = next((f"{name}={value}" for name in names if (value := os.environ.get(name, "")) not in NO_GPUS), None)
    if given is None:
        return None
    why = (
        "torch sees no GPU: install torch for CUDA, or see what nvidia-smi says" if asked == "auto" else "--device cpu"
    )
    return f"{given}: there are GPUs for this command, but its trials run on the CPU ({why})"


def run_session(options: EngineOptions, threads: int, work: Callable[[Session], Callable[[], int]]) -> int:
    """Do ``work`` in a session, end its engine whatever happens, and return the exit code.

    Args:
        work: trains, and returns the function that prints what came of it once no worker is left, and returns the exit
            code. An interrupt ends the workers and leaves what is finished.
    """
    signals.handle_in_driver()
    session = Session(options, threads)
    finished = False
    try:
        conclude = work(session)
        finished = True
    except KeyboardInterrupt:
        session.say_how_to_continue("interrupted")
        return EXIT_INTERRUPTED
    except EngineLost as reason:
        session.say_how_to_continue(str(reason))
        return EXIT_INTERRUPTED
    finally:
        session.screen.close()
        with signals.ignored():  # a second Ctrl-C must not leave a process behind
            session.engine.close(cancel=not finished)
            session.observers.close()
    return conclude()
