"""``--observe tensorboard`` writes every evaluation as TensorBoard events while the sweep runs.

They go into ``runs/<dataset>/<variant>/seed-<seed>-<hash>`` in the current folder, or in the one that
GANBENCH_TENSORBOARD names; the step is the number of real images seen. At its end a trial's verdict and pictures are
there, too. ``tensorboard --logdir runs`` shows them.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ganbench.observers.trials import end_of, name_of, numbers
from ganbench.plugin import hookimpl

FOLDER = "GANBENCH_TENSORBOARD"
_writers: dict[Path, Any] = {}


def place(trial: Mapping[str, Any]) -> Path:
    """The folder of a trial's events."""
    return Path(os.environ.get(FOLDER) or "runs") / trial["dataset"] / trial["variant"] / name_of(trial)


@hookimpl
def ganbench_evaluated(spec: Mapping[str, Any], evaluation: Mapping[str, Any]) -> None:
    values = [{"tag": tag, "simple_value": value} for tag, value in numbers(evaluation).items()]
    _write(place(spec), values, evaluation["images_seen"])


@hookimpl
def ganbench_finished(record: Mapping[str, Any], folder: str) -> None:
    events = place(record["identity"]["trial"])
    if events not in _writers:
        return
    from PIL import Image
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    end, values = end_of(record, folder), []
    for name, content in end.pictures.items():  # the film as an animated GIF, which browsers play
        with Image.open(io.BytesIO(content)) as opened:
            picture = Summary.Image(width=opened.width, height=opened.height, encoded_image_string=content)
        values.append({"tag": f"pictures/{name.partition('.')[0]}", "image": picture})
    text = "\n\n".join(f"{name}: {value}" for name, value in end.facts.items() if isinstance(value, str))
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    told = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
    values.append({"tag": "verdict", "tensor": told, "metadata": about})
    _write(events, values, record["evaluations"][-1]["images_seen"] if record["evaluations"] else 0)
    _writers.pop(events).close()


def _write(folder: Path, values: Sequence[Mapping[str, Any]], images_seen: int) -> None:
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as reason:
        raise ImportError(f"it needs tensorboard ({reason}): pip install 'ganbench[tensorboard]'") from None
    if folder not in _writers:
        folder.mkdir(parents=True, exist_ok=True)
        _writers[folder] = EventFileWriter(str(folder))
        # A run that continues a trial tells its evaluations from the first on: those of an earlier file do not count.
        _writers[folder].add_event(Event(step=0, session_log=SessionLog(status=SessionLog.START)))
    summary = Summary(value=[Summary.Value(**value) for value in values])
    _writers[folder].add_event(Event(wall_time=time.time(), step=images_seen, summary=summary))
    _writers[folder].flush()
