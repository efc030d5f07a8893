"""``--observe tensorboard`` writes every evaluation as TensorBoard events while the sweep runs.

They go into ``runs/<dataset>/<variant>/seed-<seed>-<hash>`` in the current folder, or in the one that
GANBENCH_TENSORBOARD names; the step is the number of real images seen. ``tensorboard --logdir runs`` shows them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ganbench.plugin import hookimpl
from ganbench.utils import canonical_json

FOLDER = "GANBENCH_TENSORBOARD"
WATCHED = (
    "losses",
    "gradient_norms",
    "parameter_norms",
    "d_scores",
    "updates",
    "d_auc",
    "d_auc_train",
    "d_accuracy_real",
    "d_accuracy_fake",
    "d_accuracy_train",
    "trace",
    "modes",
)
_writers: dict[Path, Any] = {}


def place(trial: Mapping[str, Any]) -> Path:
    """The folder of a trial's events: another source, hyperparameter or budget is another run."""
    name = f"seed-{trial['seed']}-{canonical_json.sha256(dict(trial))[:8]}"
    return Path(os.environ.get(FOLDER) or "runs") / trial["dataset"] / trial["variant"] / name


@hookimpl
def ganbench_evaluated(spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    scores = {f"metrics/{name}": value for name, value in evaluation["values"].items()}
    watch = evaluation.get("watch") or {}
    scores |= dict(_numbers({name: watch.get(name) for name in WATCHED}))
    _write(place(spec), scores, evaluation["images_seen"])


@hookimpl
def ganbench_finished(record: Mapping[str, Any]) -> None:
    writer = _writers.pop(place(record["identity"]["trial"]), None)
    if writer is not None:
        writer.close()


def _numbers(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Nested numbers as tags: ``losses/generator``, ``gradient_norms/discriminator/median``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{name}/")
        elif isinstance(value, int | float):
            yield (f"{before}{name}" if before else f"discriminator/{name}"), float(value)


def _write(folder: Path, scores: Mapping[str, Any], images_seen: int) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as reason:
        raise ImportError(f"it needs tensorboard ({reason}): pip install 'ganbench[tensorboard]'") from None
    import time

    if folder not in _writers:
        folder.mkdir(parents=True, exist_ok=True)
        _writers[folder] = EventFileWriter(str(folder))
        # A run that continues a trial tells its evaluations from the first on: those of an earlier file do not count.
        _writers[folder].add_event(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
    known = {tag: value for tag, value in scores.items() if value is not None}
    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in known.items()]
    _writers[folder].add_event(Event(wall_time=time.time(), step=images_seen, summary=Summary(value=values)))
    _writers[folder].flush()
