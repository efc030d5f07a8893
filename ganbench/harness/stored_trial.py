"""Reads completed trials from disk: scores, verifies, samples or trains again the variant that one left."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from ganbench.discovery.loader import Catalog, discover
from ganbench.discovery.source_hash import source_hash
from ganbench.harness import environment
from ganbench.harness.artifacts import differing_files, image_grid
from ganbench.harness.build import build
from ganbench.harness.checkpoint import StateMismatch, capture, restore
from ganbench.harness.describe import about_metric
from ganbench.harness.device_errors import take_device
from ganbench.harness.evaluation import Evaluator, draw_samples, eval_mode
from ganbench.harness.pictures import draw_pictures
from ganbench.harness.real_data import RealData
from ganbench.harness.seeds_engine.cohort import run_cohort
from ganbench.harness.serialization import Unreadable, fingerprint_anywhere, load
from ganbench.harness.trial import run_trial
from ganbench.metrics.samples import quantised
from ganbench.plugin.variant import Variant
from ganbench.results.records import DamagedRecord, as_json, read
from ganbench.results.schema import Identity, Record, TrialIdentity
from ganbench.results.spec import SEEDS, TrialSpec
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError, in_words
from ganbench.utils.seeding import derive
from ganbench.utils.typed_json import convert

STATE = "state.safetensors"


class RecordMismatch(UsageError):
    """A file of a trial does not belong to its record."""


def read_trial(folder: Path) -> Record:
    """The record of a completed trial with a stored state; raises UsageError for any other folder."""
    try:
        record = read(folder / "record.json")
    except (OSError, DamagedRecord) as reason:
        why = reason.strerror if isinstance(reason, OSError) else reason
        raise UsageError(f"{folder} is no finished trial: record.json: {why}") from None
    if record.status != "completed":
        raise UsageError(f"{folder}: the trial ended as {record.status}: it left no variant to draw samples from")
    if not (folder / STATE).is_file():
        raise UsageError(f"{folder} has no {STATE}: the trial must be run again")
    return record


def load_variant(record: Record, folder: Path, catalog: Catalog, device: torch.device) -> Variant:
    """The trial's variant at the end of its training.

    Raises:
        UsageError: its code is no longer what made the record.
        RecordMismatch: its stored state is not the one that the record names.
    """
    trial = record.identity.trial
    cls = variant_class(trial, catalog)
    dataset = catalog.get("dataset", trial.dataset).thing
    try:
        variant = build(cls, dataset, trial.hyperparameters, trial.seed).to(device)
    except Exception as reason:  # a record that anybody may have made holds hyperparameters of any kind
        raise UsageError(f"{folder}: {trial.variant} cannot be built as it was: {in_words(reason)}") from None
    try:
        state = load(folder / STATE, device, record.state_sha256)
        restore(variant, state)
    except (Unreadable, StateMismatch) as reason:
        raise RecordMismatch(f"{folder / STATE} cannot be used: {reason}") from None
    # A hash of a state tells tensors on a GPU from those on the CPU; this may be another type of device.
    if fingerprint_anywhere(capture(variant)) != fingerprint_anywhere(state):
        raise RecordMismatch(f"{folder / STATE} cannot be used: {trial.variant} does not take all of it")
    return variant


def variant_class(trial: TrialIdentity, catalog: Catalog) -> type[Variant]:
    """The class of a trial's variant; raises UsageError where its code is no longer what made the record."""
    cls: type[Variant] = catalog.get("variant", trial.variant).thing
    if source_hash(cls, trial.distribution) != trial.source:
        raise UsageError(
            f"the code of {trial.variant} is no longer what trained this trial; ganbench run trains it anew"
        )
    return cls


def needed_plugins(identity: Identity) -> list[tuple[str, str]]:
    """The plugins that are needed to build the trial's variant and score it again."""
    trial, extractor = identity.trial, identity.evaluation.extractor
    return [("variant", trial.variant), ("dataset", trial.dataset), ("extractor", extractor)]


def rescore_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """A job: metrics of a stored trial, as its last evaluation would have found them.

    ``payload``: the trial's ``folder``, the ``metrics``' names, ``device`` (None: the kind that it was trained on).
    """
    folder = Path(payload["folder"])
    record = read_trial(folder)
    catalog = _catalog(payload, record)
    variant, evaluator, device = _reopen(payload, record, catalog)
    history = as_json(record.evaluations)
    found = evaluator.rescore(variant, history[-1]["step"], history[:-1])
    offers = [catalog.get("metric", metric.name) for metric in evaluator.metrics]
    return {
        "step": history[-1]["step"],
        "values": found.values,
        "faults": found.faults,
        "about": {one.name: about_metric(one) for one in offers},
        "environment": _environment_of(payload, record, device),
    }


def verify_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """A job: what a stored trial's state gives now, for comparison with its record.

    ``payload`` as for ``rescore_trial``. Why a file cannot belong to the record comes back as ``unfaithful``.
    """
    folder = Path(payload["folder"])
    record = read_trial(folder)
    try:
        variant, evaluator, device = _reopen(payload, record, _catalog(payload, record))
    except RecordMismatch as reason:
        return {"unfaithful": str(reason)}
    history = as_json(record.evaluations)
    values = evaluator.rescore(variant, history[-1]["step"], history[:-1]).values
    samples = evaluator.samples(variant)
    pictures, _ = draw_pictures(variant, evaluator.real, samples, evaluator.seed)
    return {
        "values": values,
        "differing": differing_files(folder, history, samples, pictures),
        "device": device.type,
        "environment": _environment_of(payload, record, device),
    }


def sample_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """A job: draw from a stored trial's variant, as its evaluations did.

    ``payload``: the trial's ``folder``, how many (``n``), ``seed`` of the latents (None: the trial's own), ``device``,
    and the ``suffix`` of the file to be made: ``.png`` (a grid of images) or ``.npy``. It comes back in Base64.
    """
    folder = Path(payload["folder"])
    record = read_trial(folder)
    trial = record.identity.trial
    device = _device(payload, trial)
    variant = load_variant(record, folder, discover(needed_plugins(record.identity)), device)
    stream = derive(trial.seed if payload["seed"] is None else payload["seed"], "evaluation")
    with eval_mode(variant, stream):
        raw = draw_samples(variant, payload["n"], stream, device).cpu()
    if not bool(torch.isfinite(raw).all()):
        raise UsageError(f"{folder}: a sample is not finite")
    if payload["suffix"] == ".png" and raw.dim() != 4:
        raise UsageError(
            f"{folder}: {trial.variant} draws points, of which there is no picture: give --out a .npy file"
        )
    array = quantised(raw).numpy()
    out = io.BytesIO()
    if payload["suffix"] == ".png":
        out.write(image_grid(array))
    else:
        np.save(out, array, allow_pickle=False)
    return {"content": base64.b64encode(out.getvalue()).decode(), "shape": list(array.shape)}


def rerun_trial(payload: dict[str, Any]) -> dict[str, Any]:
    """A job: train a recorded trial again in an empty folder, and return its outcome.

    ``payload``: the record's ``identity``, the ``metrics``' names, the empty ``folder``, ``threads``, and ``device``
    (None: the kind that it was trained on).
    """
    identity = convert(payload["identity"], Identity)
    spec = TrialSpec.from_identity(identity)
    now = spec.identity
    same = replace(now.evaluation, metrics_version=identity.evaluation.metrics_version) == identity.evaluation
    if now.trial_hash != identity.trial_hash or not same:
        raise UsageError("it was made by a version of ganbench that trains or scores otherwise")
    payload = {**payload, "device": str(_device(payload, identity.trial))}
    variant_class(identity.trial, discover(needed_plugins(identity)))
    if spec.protocol.engine == SEEDS:  # alone it has the bits that it has among others
        result = run_cohort({**payload, "specs": [spec.payload()], "folders": [payload["folder"]]})
        return dict(result.get("outcomes", [result])[0])
    return run_trial({**payload, "spec": spec.payload()})


def _device(payload: dict[str, Any], trial: TrialIdentity) -> torch.device:
    """The device of a job on a stored trial; raises DeviceError where it is not there, with what to do."""
    if payload["device"]:
        return take_device(payload)
    try:
        return take_device({**payload, "device": trial.device})
    except environment.DeviceError as reason:
        why = str(reason).partition(": ")[2].partition(";")[0]
        raise environment.DeviceError(
            f"it was trained on {trial.device}, and {why}; --device cpu takes the CPU, whose random numbers are others"
        ) from None


def _environment_of(payload: dict[str, Any], record: Record, device: torch.device) -> dict[str, Any]:
    described = environment.describe(device, payload["threads"], record.identity.trial.distribution)
    return dict(json.loads(canonical_json.dumps(described)))


def _catalog(payload: dict[str, Any], record: Record) -> Catalog:
    """The plugins that are needed to compute the metrics of a stored trial."""
    return discover([*needed_plugins(record.identity), *(("metric", name) for name in payload["metrics"])])


def _reopen(payload: dict[str, Any], record: Record, catalog: Catalog) -> tuple[Variant, Evaluator, torch.device]:
    """A stored trial's variant and what scores it, on their device."""
    folder = Path(payload["folder"])
    trial, evaluation = record.identity.trial, record.identity.evaluation
    device = _device(payload, trial)
    real = RealData(
        catalog.get("dataset", trial.dataset).thing,
        catalog.get("extractor", evaluation.extractor).thing,
        evaluation.samples,
        device,
        split=evaluation.split,
    )
    for what, found, known in (
        (f"dataset {trial.dataset}", real.hash, trial.dataset_hash),
        (f"extractor {evaluation.extractor}", real.extractor.weights_hash, evaluation.extractor_hash),
    ):
        if found != known:
            raise UsageError(f"{what} is no longer what {folder} was scored with")
    metrics = [catalog.get("metric", name).thing for name in payload["metrics"]]
    evaluator = Evaluator(real, metrics, trial.seed, trial.batch_size)
    return load_variant(record, folder, catalog, device), evaluator, device
