"""Runs the parts of a computation on several threads, each part on one, so that results do not depend on their number.

If torch and BLAS share each product among threads themselves, threads wait for each other at every product, and the
last bits of results depend on how many there are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from typing import Any, Generic, NamedTuple, TypeVar

import torch

T = TypeVar("T")


class _Pool(NamedTuple):
    threads: int
    executor: ThreadPoolExecutor | None = None


_ALONE = _Pool(1)
_POOL: ContextVar[_Pool] = ContextVar("pool", default=_ALONE)


class Task(Generic[T]):
    """A job given to the threads of a ``shared`` block. Outside of one it runs when ``result`` is called."""

    def __init__(self, job: Callable[[], T]) -> None:
        executor = _POOL.get().executor
        self._job = job
        self._future: Future[T] | None = None if executor is None else executor.submit(job)

    def result(self) -> T:
        return self._job() if self._future is None else self._future.result()


@contextlib.contextmanager
def shared() -> Iterator[None]:
    """A block whose ``submit`` and ``run_all`` share the threads that torch may use; within it an operation has one.

    A block within another one is part of it.
    """
    threads = torch.get_num_threads()
    if threads == 1:  # or it is within another block
        yield
        return
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1), ThreadPoolExecutor(threads, "ganbench") as executor:
            token = _POOL.set(_Pool(threads, executor))
            try:
                yield
            finally:
                _POOL.reset(token)
    finally:
        torch.set_num_threads(threads)


@cache
def _libraries() -> Any:
    """The libraries of products that are loaded; looking for them takes milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def submit(job: Callable[[], T]) -> Task[T]:
    """Start a job in the background of a ``shared`` block; with one thread it runs when its result is asked for.

    A job may not submit others.
    """
    return Task(job)


def count() -> int:
    """How many threads a ``shared`` block has."""
    return _POOL.get().threads


def run_all(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Run jobs on the threads of a block, and return their results in order; they may submit no others."""
    if len(jobs) == 1:
        return [jobs[0]()]
    with shared():
        return [task.result() for task in [submit(job) for job in jobs]]
