"""``--observe mlflow`` writes every trial as a run of MLflow: hyperparameters, scores over images, verdict, pictures.

Runs go where MLFLOW_TRACKING_URI says, by default into ``mlflow.db`` and ``mlruns/`` in the current folder, as
experiments ``ganbench <dataset>``; the step is the number of real images seen. ``mlflow ui`` shows them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ganbench.observers.trials import end_of, name_of, numbers
from ganbench.plugin import hookimpl

MOST_VALUES = 1000  # of one call
_MOST_TEXT = 5000  # characters of a tag
_client: Any = None
_runs: dict[str, str] = {}  # by name of the trial


def _run(trial: Mapping[str, Any]) -> str:
    """The run of a trial. One that an earlier sweep began is begun anew, since its evaluations are told again."""
    global _client
    name = f"{trial['variant']} {name_of(trial)}"
    if name in _runs:
        return _runs[name]
    try:
        from mlflow import MlflowClient
        from mlflow.entities import Param
    except ImportError as reason:
        raise ImportError(f"it needs mlflow ({reason}): pip install 'ganbench[mlflow]'") from None
    _client = _client or MlflowClient()
    title = f"ganbench {trial['dataset']}"
    experiment = _client.get_experiment_by_name(title)
    place = experiment.experiment_id if experiment else _client.create_experiment(title)
    tags = {"variant": trial["variant"], "seed": str(trial["seed"]), "source": trial["source"][:8]}
    _runs[name] = _client.create_run(place, run_name=name, tags=tags).info.run_id
    settings = {"seed": trial["seed"], "images": trial["budget_images"], **trial["hyperparameters"]}
    _client.log_batch(_runs[name], params=[Param(key, str(value)) for key, value in settings.items()])
    return _runs[name]


@hookimpl
def ganbench_evaluated(spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    run = _run(spec)
    from mlflow.entities import Metric

    now, step = int(time.time() * 1000), evaluation["images_seen"]
    values = [Metric(name, value, now, step) for name, value in numbers(evaluation).items()]
    for start in range(0, len(values), MOST_VALUES):
        _client.log_batch(run, metrics=values[start : start + MOST_VALUES])


@hookimpl
def ganbench_finished(record: Mapping[str, Any], folder: str) -> None:
    import tempfile
    from pathlib import Path

    trial = record["identity"]["trial"]
    run, end = _run(trial), end_of(record, folder)
    for name, value in end.facts.items():
        if isinstance(value, str):
            _client.set_tag(run, name, value[:_MOST_TEXT])
        else:
            _client.log_metric(run, name, value)
    with tempfile.TemporaryDirectory() as kept:
        for name, content in end.pictures.items():
            (Path(kept) / name).write_bytes(content)
        _client.log_artifacts(run, kept, "pictures")
    _client.set_terminated(run, "FINISHED" if record["status"] == "completed" else "FAILED")
    del _runs[f"{trial['variant']} {name_of(trial)}"]
