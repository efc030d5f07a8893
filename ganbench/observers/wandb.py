"""``--observe wandb`` writes every trial as a run of Weights & Biases: settings, scores over images, verdict, pictures.

Runs go into the project ``ganbench``, or the one that WANDB_PROJECT names; with WANDB_MODE=offline into the folder
``wandb/``, from where ``wandb sync`` uploads them. A run's group is ``<dataset> <variant>``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import Any

from ganbench.observers.trials import end_of, name_of, numbers
from ganbench.plugin import hookimpl

_runs: dict[str, Any] = {}


def _run(trial: Mapping[str, Any]) -> Any:
    """The run of a trial. One that an earlier sweep began is begun anew, since its evaluations are told again."""
    key = f"{trial['dataset']} {trial['variant']} {name_of(trial)}"
    if key not in _runs:
        try:
            import wandb
        except ImportError as reason:
            raise ImportError(f"it needs wandb ({reason}): pip install 'ganbench[wandb]'") from None
        _runs[key] = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "ganbench",
            name=f"{trial['variant']} {name_of(trial)}",
            group=f"{trial['dataset']} {trial['variant']}",
            config={**trial["hyperparameters"], **{name: trial[name] for name in ("dataset", "seed", "budget_images")}},
            reinit="create_new",  # several trials run at a time
        )
    return _runs[key]


@hookimpl
def ganbench_evaluated(spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    _run(spec).log(numbers(evaluation), step=evaluation["images_seen"])


@hookimpl
def ganbench_finished(record: Mapping[str, Any], folder: str) -> None:
    from PIL import Image

    trial = record["identity"]["trial"]
    run, end = _run(trial), end_of(record, folder)
    import wandb

    run.summary.update(end.facts)
    shown = {}
    for name, content in end.pictures.items():
        title = f"pictures/{name.partition('.')[0]}"
        moving = name.endswith(".gif")
        shown[title] = (
            wandb.Video(io.BytesIO(content), format="gif") if moving else wandb.Image(Image.open(io.BytesIO(content)))
        )
    if shown:
        run.log(shown)
    run.finish(exit_code=0 if record["status"] == "completed" else 1)
    del _runs[f"{trial['dataset']} {trial['variant']} {name_of(trial)}"]
