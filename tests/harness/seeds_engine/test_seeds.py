"""``--engine seeds``: when it is used, what a sweep of it leaves, and that it scores as the serial engine does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import ks_2samp

from ganbench.cli import cli
from ganbench.discovery.loader import discover
from ganbench.harness.seeds_engine.cohort import why_serial
from ganbench.results.spec import Planned, Protocol, TrialSpec
from ganbench.results.store import read_records
from ganbench.runner.planning import together


def test_where_it_would_not_pay_the_serial_engine_is_named() -> None:
    catalog = discover([("variant", "vanilla"), ("variant", "dcgan"), ("dataset", "digits"), ("dataset", "ring8")])
    digits, ring = (catalog.get("dataset", name).thing for name in ("digits", "ring8"))
    vanilla, dcgan = (catalog.get("variant", name).thing for name in ("vanilla", "dcgan"))
    cpu = torch.device("cpu")
    assert why_serial(vanilla, ring, {"width": 32}, 64, 10, cpu) is None
    assert "2 seeds" in why_serial(vanilla, ring, {"width": 32}, 64, 2, cpu)
    assert "gain little" in why_serial(dcgan, digits, {}, 64, 10, cpu)


INLINE = ("--executor", "inline")  # it spares the tests a process that imports torch


def sweep(folder: Path, *more: str) -> str:
    words = "run -p vanilla -d ring8 --images 1280 --evaluations 2 --samples 200 --set vanilla.width=16"
    result = CliRunner().invoke(cli, [*words.split(), "--results", str(folder), *more])
    assert result.exit_code == 0, result.output
    return result.output


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix in (".csv", ".json", ".safetensors")
        and path.name not in ("cost.json", "costs.csv")
    }


def test_a_sweep_of_seeds_leaves_a_record_each_and_the_missing_ones_again(tmp_path: Path) -> None:
    sweep(tmp_path / "a", "--engine", "seeds", "--seeds", "4", "--jobs", "1")
    whole = contents(tmp_path / "a")
    records = read_records(tmp_path / "a").records
    assert sorted(r.identity.trial.seed for r in records) == [0, 1, 2, 3]
    assert {r.status for r in records} == {"completed"}
    assert {r.identity.trial.engine for r in records} == {"seeds"}
    costs = [json.loads(path.read_bytes()) for path in (tmp_path / "a").rglob("cost.json")]
    assert {cost["together"] for cost in costs} == {4}
    for path in [*(tmp_path / "a").rglob("seed-1-*/record.json"), *(tmp_path / "a").rglob("seed-3-*/record.json")]:
        path.unlink()  # as if it had been killed while it wrote records
    sweep(tmp_path / "a", "--engine", "seeds", "--seeds", "4", *INLINE)
    assert contents(tmp_path / "a") == whole
    verified = CliRunner().invoke(cli, ["verify", str(tmp_path / "a"), "--rerun", "1", *INLINE])
    assert "reruns: 1 bit-identical" in verified.output and verified.exit_code == 0, verified.output
    sweep(tmp_path / "a", "--seeds", "3", *INLINE)  # the engines share no table
    rows = [line.split(",") for line in (tmp_path / "a" / "leaderboard.csv").read_text().splitlines()]
    protocol, seeds = rows[0].index("protocol"), rows[0].index("seeds")
    assert sorted((row[seeds], len(row[protocol])) for row in rows[1:]) == [("3", 8), ("4", 8)]
    assert len({row[protocol] for row in rows[1:]}) == 2


def test_without_a_gain_the_sweep_says_so_and_is_serial(tmp_path: Path) -> None:
    output = sweep(tmp_path, "--engine", "seeds", "--seeds", "1", "--dry-run", *INLINE)
    assert "the engine serial trains it, since it would gain little" in output


def test_jobs_are_formed_of_what_differs_in_its_seed_alone() -> None:
    for engine, jobs in (
        ("serial", [[3], [12], [4], [3], [12], [4]]),
        ("seeds", [[3, 4], [12], [3, 4], [12]]),
    ):
        protocol = Protocol(640, 64, "cpu", "identity", "e" * 64, 100, 2, engine=engine)
        specs = [
            TrialSpec("v", "d", "a" * 64, {"width": width}, "ring8", "d" * 64, seed, protocol)
            for width in (8, 16)
            for seed in (3, 12, 4)
        ]
        trials = [Planned(spec, "v", "variant", "fid", {}, {}, "cpu") for spec in specs]
        assert [[trial.spec.seed for trial in job] for job in together(trials)] == jobs


@pytest.mark.slow  # python -m pytest -m slow tests/harness/seeds_engine/test_seeds.py
def test_scores_are_distributed_as_those_of_the_serial_engine(tmp_path: Path) -> None:
    """40 seeds of each engine, other ones, so that the samples are independent; two-sample Kolmogorov-Smirnov."""
    scores = {}
    for engine, seeds in (("serial", "0-39"), ("seeds", "100-139")):
        words = "run -p vanilla,relativistic -d ring8 --images 64000 --evaluations 1 --set vanilla.width=32"
        more = "--set relativistic.width=8 --metrics fid,coverage,high_quality --samples 1000"
        folder = str(tmp_path / engine)
        result = CliRunner().invoke(
            cli, [*words.split(), *more.split(), "--engine", engine, "--seeds", seeds, "--results", folder]
        )
        assert result.exit_code == 0, result.output
        for record in read_records(folder).records:
            assert record.identity.trial.engine == engine
            for metric in ("fid", "coverage"):
                scores.setdefault((record.label, metric), {}).setdefault(engine, []).append(record.values[metric])
    assert len(scores) == 4
    for key, by_engine in scores.items():
        p = ks_2samp(by_engine["serial"], by_engine["seeds"]).pvalue
        print(key, f"p = {p:.3f}", {engine: float(np.median(values)) for engine, values in by_engine.items()})
        assert p > 0.01 / len(scores), key
