"""``ganbench run``, from options to exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganbench.executors import EngineLost, Executor, load_executor
from ganbench.results.store import Store
from ganbench.runner.observers import Observers
from ganbench.runner.planning import Plan, Request, plan
from ganbench.runner.preflight import ask
from ganbench.runner.progress import display
from ganbench.runner.scheduler import Sweep
from ganbench.utils import signals
from ganbench.utils.errors import EXIT_INTERRUPTED, UsageError
from ganbench.utils.memory import GIGABYTE, measurable


@dataclass(frozen=True)
class Engine:
    """Where and how trials run: the options that no score depends on.

    Attributes:
        storage: where running trials write, if not in the results folder.
    """

    jobs: int | None
    executor: str
    address: str | None
    cpus_per_trial: float | None
    gpus_per_trial: float | None
    storage: Path | None
    executor_options: tuple[str, ...]
    timeout: float | None
    memory: float | None
    retry_failed: bool
    observe: tuple[str, ...]

    @property
    def most(self) -> float | None:
        """Bytes that a trial may hold."""
        return None if self.memory is None else self.memory * GIGABYTE

    def load(self, threads: int) -> Executor:
        """The executor; raises UsageError for options that it has no use for."""
        options = {} if self.address is None else {"address": self.address}
        for text in self.executor_options:
            key, equals, value = text.partition("=")
            if not (key and equals):
                raise UsageError(f"--executor-option {text}: expected KEY=VALUE, such as partition=gpu")
            options[key] = value
        found = load_executor(self.executor, self.jobs, threads, options)
        if not found.remote and (self.cpus_per_trial or self.gpus_per_trial):
            raise UsageError(
                f"--cpus-per-trial and --gpus-per-trial are for engines that share out machines, such as ray; "
                f"--executor {self.executor} runs --jobs trials at a time, on each GPU in turn"
            )
        return found

    def store(self, root: Path, name: str = "") -> Store:
        """A results folder, or that of a name in it, with its part of the storage."""
        return Store(root / name, None if self.storage is None else self.storage / name)


class Session:
    """One command that trains: its engine, its screen, and those who watch."""

    def __init__(self, engine: Engine, threads: int) -> None:
        if engine.memory is not None and not measurable():
            raise UsageError(
                "--memory: this system has no /proc to measure it by; run without it, and watch the machine"
            )
        self.options = engine
        self.cpus, self.gpus = engine.cpus_per_trial or threads, engine.gpus_per_trial or 0.0
        self.screen = display()
        self.observers = Observers(engine.observe, lambda text: self.screen.note(text))
        try:
            self.engine = engine.load(threads)
        except BaseException:
            self.observers.close()
            raise

    def ask(self, payloads: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return ask(self.engine, payloads, self.options.timeout, self.options.most, self.cpus, self.gpus)

    def plan(self, request: Request) -> Plan:
        """The request's trials; raises UsageError if there are none."""
        self.screen.note(
            "asking plugins and datasets (one without a shipped classifier trains it now, about a minute) ..."
        )
        planned = plan(request, self.ask)
        for text in (*planned.notes, *(f"left out: {text}" for text in planned.left_out)):
            self.screen.note(text)
        if not planned.trials:
            raise UsageError("nothing to run: every variant was left out on every dataset")
        return planned

    def sweep(self, store: Store, request: Request, planned: Plan) -> Counter[str]:
        """Run a plan into a folder that is locked; return how many of its trials have each status."""
        statuses = Sweep(
            *(store, self.engine, request, planned, self.screen, self.options.timeout, self.options.retry_failed),
            observed=self.observers.evaluated,
            finished=self.observers.finished,
            memory=self.options.most,
            cpus=self.cpus,
            gpus=self.gpus,
        ).run()
        self.screen.close()
        self.screen = display()  # another sweep gets bars of its own
        return statuses


def conduct(engine: Engine, threads: int, work: Callable[[Session], Callable[[], int]]) -> int:
    """Run ``work``, end the engine, and return what the function that ``work`` gave returns: the exit code.

    An interrupt ends the workers and leaves what is finished.
    """
    signals.drive()
    session = Session(engine, threads)
    finished = False
    try:
        conclude = work(session)
        finished = True
    except KeyboardInterrupt:
        session.screen.close()
        session.screen.note("interrupted: nothing finished was lost; run the same command again to continue")
        return EXIT_INTERRUPTED
    except EngineLost as reason:
        session.screen.close()
        session.screen.note(f"{reason}: nothing finished was lost; run the same command again to continue")
        return EXIT_INTERRUPTED
    finally:
        session.screen.close()
        with signals.shielded():  # a second Ctrl-C must not leave a process behind
            session.engine.close(cancel=not finished)
            session.observers.close()
    return conclude()
