"""Runs the jobs that Ray or SLURM brings to a machine: ``python -m ganbench.executors.host THREADS``.

A line of JSON comes in for each job, and one goes out with its answer. When the input ends, so has the engine, and
what runs here is ended too.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
from concurrent.futures import Future
from typing import Any

from ganbench.executors import LOST, Job, WorkerDied
from ganbench.executors.local import LocalExecutor
from ganbench.utils.errors import in_words


def answer(future: Future[dict[str, Any]]) -> dict[str, Any]:
    """What became of a job, as JSON."""
    try:
        return {"result": future.result()}
    except LOST as reason:
        return {
            "lost": [type(reason).__name__, str(reason), reason.exit_code if isinstance(reason, WorkerDied) else None]
        }
    except Exception as reason:  # no more files, no more processes: who waits for an answer must get one
        return {"gone": f"the process beside it on {platform.node()} could not run it: {in_words(reason)}"}


def main(threads: int) -> None:
    # Whatever prints to standard output must not come between the answers.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # submitit has SLURM send it to every process near a time limit
    engine = LocalExecutor(jobs=1, threads=threads, options={})
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: engine.stop())  # a batch system's sign to stop

    def reply(future: Future[dict[str, Any]]) -> None:
        out.write(json.dumps(answer(future)).encode() + b"\n")
        out.flush()

    for line in sys.stdin.buffer:
        message = json.loads(line)
        if "stop" in message:
            engine.stop()
            continue
        job = Job(message["payload"], deadline=message["deadline"], memory=message["memory"])
        engine.submit(job).add_done_callback(reply)
    engine.close(cancel=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
