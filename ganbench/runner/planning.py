"""Makes the list of trials to run from what the user asked for, such as two variants on one dataset with five seeds.

Plugins are asked about themselves in processes of their own; nothing here imports torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ganbench.results.presets import preset_name
from ganbench.results.spec import LANES, SEEDS, SERIAL, Planned, Protocol, TrialSpec
from ganbench.results.store import takes_name
from ganbench.utils import canonical_json
from ganbench.utils.errors import UsageError

Ask = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]
MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Request:
    """What ``ganbench run`` was asked for; None means the dataset's own default.

    Attributes:
        weights: file of the extractor's weights.
        split: what samples are compared with: ``test``, ``train``, or ``validation``, a part of the training split, to
            choose by.
        protocol: the preset that set some of them, or None.
        engine: what trains; where it does not apply or pay, ``serial`` does.
        settings: by variant, the hyperparameters of each of its rows as the user's text; others have their defaults.
    """

    plugins: tuple[str, ...]
    datasets: tuple[str, ...] = ("digits",)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    images: int | None = None
    evaluations: int = 20
    batch_size: int = 64
    samples: int | None = None
    curve_samples: int | None = None
    metrics: tuple[str, ...] | None = None
    extractor: str | None = None
    weights: str | None = None
    device: str = "auto"
    precision: str = "fp32"
    engine: str = SERIAL
    threads: int = 1
    split: str = "test"
    protocol: str | None = None
    settings: dict[str, list[dict[str, str]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep, the pairs left out, things worth saying first, what cannot be built, with reasons, and the
    devices that trials are spread over, such as ``cuda:0`` and ``cuda:1``.
    """

    trials: list[Planned]
    left_out: list[str]
    notes: list[str]
    broken: list[str] = field(default_factory=list)
    devices: tuple[str, ...] = ()


def parse_seeds(texts: tuple[str, ...]) -> tuple[int, ...]:
    """``5`` is seeds 0 to 4; with a comma, a range or a repetition it is a list: ``7,``, ``3,7``, ``10-19``."""
    if not texts:
        return Request.seeds
    is_list = len(texts) > 1 or any(mark in texts[0] for mark in ",-")
    seeds: list[int] = []
    for part in (p.strip() for text in texts for p in text.split(",") if p.strip()):
        low, dash, high = part.partition("-")
        if not (low.isdecimal() and (not dash or high.isdecimal()) and low.isascii() and high.isascii()):
            raise UsageError(f"--seeds {part}: expected a number of seeds (5), or a list of seeds (7, or 3,7 or 10-19)")
        first, end = (int(low), int(high if dash else low) + 1) if is_list else (0, int(low))
        if is_list and end <= first:
            raise UsageError(f"--seeds {part}: it ends before it begins")
        if end > 2**63:
            raise UsageError(f"--seeds {part}: a seed is below 2**63")
        if end - first > MOST_SEEDS:
            raise UsageError(f"--seeds {part}: {end - first:,} seeds; at most {MOST_SEEDS:,} are trained at a time")
        seeds += range(first, end)
    if not seeds:
        raise UsageError(f"--seeds {','.join(texts)}: this names no seed at all")
    return tuple(dict.fromkeys(seeds))


def parse_settings(texts: tuple[str, ...], plugins: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    """The rows of the table that ``--set`` asks for: by variant, the hyperparameters of each of its rows.

    ``VARIANT.KEY=VALUE`` is split at the last dot before the first ``=``. ``VALUE|VALUE`` is a grid: a row for each
    value, and for each combination where several hyperparameters have one. A variant with a grid, or one that
    ``plugins`` names twice, has a first row of its defaults too.
    """
    values: dict[str, dict[str, list[str]]] = {}
    for text in texts:
        target, equals, value = text.partition("=")
        variant, dot, key = target.rpartition(".")
        if not (equals and dot and variant and key):
            raise UsageError(f"--set {text}: expected VARIANT.KEY=VALUE, such as dcgan.lr=1e-4")
        if variant not in plugins:
            raise UsageError(f"--set {text}: {variant} is not among --plugins {','.join(plugins)}")
        keys = values.setdefault(variant, {})
        if key.strip() in keys:
            raise UsageError(f"--set {text}: {target} is set twice; for a row each say '{target}=VALUE|VALUE'")
        keys[key.strip()] = [one.strip() for one in value.split("|")] if "|" in value else [value]
    settings: dict[str, list[dict[str, str]]] = {}
    for variant, keys in values.items():
        rows = [dict(zip(keys, row, strict=True)) for row in itertools.product(*keys.values())]
        settings[variant] = rows if len(rows) == 1 and plugins.count(variant) == 1 else [{}, *rows]
    return settings


def plan(request: Request, ask: Ask, note: Callable[[str], None] = lambda text: None, prepare: bool = True) -> Plan:
    """Ask datasets and variants to describe themselves, and list the trials.

    Args:
        ask: runs jobs and returns their results in order; it raises UsageError for a request that a job refuses.
        note: is told, before it begins, of what takes long.
        prepare: False lists no trials of a dataset that has to be downloaded or prepared first, or whose classifier has
            to be trained; a note says so, and its networks are built where its shape is known.
    """
    if request.engine == SEEDS and request.precision != "fp32":
        raise UsageError("--engine seeds computes in fp32: leave out --precision, or train with --engine serial")
    common = {"device": request.device, "threads": request.threads}
    asked = _ask_datasets(
        [
            {
                "kind": "dataset",
                "dataset": name,
                "extractor": request.extractor,
                "weights": request.weights,
                "samples": request.samples,
                "curve_samples": request.curve_samples,
                "split": request.split,
                "protocol": None if request.split == "validation" else request.protocol,
                "metrics": request.metrics,
                "precision": request.precision,
                **common,
            }
            for name in request.datasets
        ],
        ask,
        note,
        prepare,
    )
    path_notes: list[str] = []
    for name in request.datasets:
        takes_name(name, ":" not in name, "the dataset", path_notes.append, f"folder:{name}")
    # By the names that they give themselves: a folder that is asked for twice is one dataset.
    asked = list({dataset["name"]: dataset for dataset in asked}.values())
    datasets = [dataset for dataset in asked if "first" not in dataset]
    path_notes += _preset_notes(request, datasets)
    names = list(dict.fromkeys(request.plugins))
    variants = ask(
        [
            {
                "kind": "variant",
                "build": True,
                "variant": name,
                "beside": names,
                "datasets": [dataset["name"] for dataset in asked if dataset.get("shape_known", True)],
                "settings": settings,
                "together": len(request.seeds) if request.engine == SEEDS else None,
                "batch_size": request.batch_size,
                **common,
            }
            for name in names
            for settings in request.settings.get(name, [{}])
        ]
    )
    # By the values that they lead to: a value of a grid may be the default.
    variants = list({canonical_json.dumps([v["name"], v["hyperparameters"]]): v for v in variants}.values())
    trials: list[Planned] = []
    left_out: list[str] = []
    notes = [
        f"{dataset['name']}: its trials are not listed; a run would first {dataset['first']}"
        for dataset in asked
        if "first" in dataset
    ]
    for dataset in datasets:
        for variant in variants:
            if dataset["name"] in variant["unsuitable"]:
                left_out.append(f"{variant['name']} on {dataset['name']}: {variant['unsuitable'][dataset['name']]}")
                continue
            engine = request.engine
            if engine == SEEDS and (why := variant["serial"].get(dataset["name"])):
                engine = SERIAL
                notes.append(f"{variant['label']} on {dataset['name']}: the engine serial trains it, since it {why}")
            for seed in request.seeds:
                trials.append(_planned(request, dataset, variant, seed, engine))
    notes = [*path_notes, *(note for described in (*datasets, *variants) for note in described["notes"]), *notes]
    broken = [text for variant in variants for text in variant["broken"]]
    devices = tuple(datasets[0]["devices"]) if datasets else ()
    return Plan(trials, left_out, list(dict.fromkeys(notes)), broken, devices)


def _preset_notes(request: Request, datasets: list[dict[str, Any]]) -> list[str]:
    """What to say of data and weights that are not those of the preset."""
    if request.protocol is None or request.split == "validation":
        return []
    notes = []
    for dataset in datasets:
        if not preset_name(dataset["name"], dataset["extractor"], dataset["samples"], request.split):
            notes.append(
                f"{dataset['name']}: {dataset['extractor']} has not the weights of --protocol {request.protocol}; no "
                "table gives its name to these scores, and they compare with no paper's"
            )
    return notes


def _ask_datasets(
    jobs: list[dict[str, Any]], ask: Ask, note: Callable[[str], None], prepare: bool
) -> list[dict[str, Any]]:
    """Ask datasets about themselves; say so before one is downloaded or prepared, or a classifier is trained for it."""
    found = ask([{**job, "prepare": False} for job in jobs])
    waiting = [i for i, answer in enumerate(found) if "first" in answer and prepare]
    for i in waiting:
        note(f"{found[i]['name']}: it has to {found[i]['first']} ...")
    for i, answer in zip(waiting, ask([jobs[i] for i in waiting]) if waiting else (), strict=True):
        found[i] = answer
    return found


def _planned(request: Request, dataset: dict[str, Any], variant: dict[str, Any], seed: int, engine: str) -> Planned:
    """One trial of the plan: its identity, and what the harness, the store and the screen need to know of it."""
    device = dataset["devices"][0]  # where there are several, its job leases one of them
    protocol = Protocol(
        budget_images=request.images or dataset["budget_images"],
        batch_size=request.batch_size,
        device=device.partition(":")[0],
        extractor=dataset["extractor"],
        extractor_hash=dataset["extractor_hash"],
        samples=dataset["samples"],
        evaluations=request.evaluations,
        precision=request.precision,
        engine=engine,
        split=request.split,
        curve_samples=dataset.get("curve_samples"),
    )
    spec = TrialSpec(
        variant=variant["name"],
        distribution=variant["distribution"],
        source=variant["source"],
        hyperparameters=variant["hyperparameters"],
        dataset=dataset["name"],
        dataset_hash=dataset["hash"],
        seed=seed,
        protocol=protocol,
    )
    needs = tuple(sorted({variant["distribution"], *dataset["distributions"]}))
    about = variant["environment"]
    family = variant["family"]
    return Planned(
        *(spec, variant["label"], variant["role"], dataset["primary"], dataset["metrics"], about, device, needs),
        conditional=variant["conditional"],
        true_family=family is not None and family == dataset["family"],
    )


def together(todo: Sequence[Planned], devices: int = 1) -> list[list[Planned]]:
    """The trials of each job: one, or with the engine ``seeds`` those of one ten that differ in their seed alone.

    Args:
        devices: a ten is cut into groups where there are more devices than jobs, so that each has one. Otherwise that
            would only cost time: a computation of one seed takes as long as one of ten.
    """
    jobs: dict[str, list[Planned]] = {}
    for trial in todo:
        spec = trial.spec
        shared = replace(spec, seed=spec.seed // LANES) if spec.protocol.engine == SEEDS else spec
        jobs.setdefault(canonical_json.sha256(shared.payload()), []).append(trial)
    groups = max(1, devices // max(1, len(jobs)))
    cut = [job[first::groups] for job in jobs.values() for first in range(min(groups, len(job)))]
    return [sorted(job, key=lambda trial: trial.spec.seed) for job in cut]
