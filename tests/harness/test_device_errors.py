"""Errors of devices inside real trials on a pretended machine: whose fault they are, and what becomes of the trial."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from ganbench.cli import cli
from ganbench.conformance.pretended_device import pretended
from ganbench.executors import local
from ganbench.harness import device_errors, environment
from ganbench.results.store import read_records

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is there: pytest -m gpu")

PLUGIN = Path(__file__).parents[1] / "fixtures" / "device_errors.py"
SMALL = ["-d", "ring8", "--images", "64", "--batch-size", "16", "--evaluations", "1", "--samples", "64", "-m", "fid"]
GB = 10**9

MEMORY = ["allocator", "accelerator", "driver", "older", "cublas", "cudnn", "cudnn9", "cusolver", "cufft", "cusparse"]
MEMORY += ["nvml", "mps", "host"]
MACHINE = ["busy", "busy12", "absent", "no driver", "old driver", "lost", "bus", "ecc"]
DOUBTFUL = ["launch", "unknown", "execution", "handle"]
CODE = ["assert", "illegal", "argument", "author", "quotes", "nccl", "own"]


def says() -> dict[str, Callable[[], Exception]]:
    spec = spec_from_file_location("device_errors_plugin", PLUGIN)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[], Exception]] = module.SAYS
    return found


SAYS = says()


@pytest.fixture(autouse=True)
def nothing_given() -> Iterator[None]:
    yield
    device_errors._given = None


def given(kind: str = "cuda", **about: Any) -> None:
    device_errors._given = device_errors.Given(
        torch.device(kind), **{"shared": False, "alone": False, "held": None, **about}
    )


def kind(reason: BaseException) -> str | None:
    other = device_errors.device_fault(reason)
    return None if other is None else type(other).__name__


def test_every_case_is_judged() -> None:
    assert sorted(SAYS) == sorted([*MEMORY, *MACHINE, *DOUBTFUL, *CODE])


@pytest.mark.parametrize("case", SAYS)
def test_whose_fault_an_error_is(case: str) -> None:
    reason = SAYS[case]()
    assert device_errors.is_out_of_memory(reason) == (case in MEMORY)
    given("cpu")
    assert kind(reason) is None  # what a plugin does with a GPU that its trial does not have is its own affair
    device = "DeviceLost" if case in MACHINE else None
    shared = "Crowded" if case in MEMORY and case != "host" else device
    given()
    assert kind(reason) == ("Doubtful" if case in DOUBTFUL else device)
    given(alone=True)
    assert kind(reason) == device
    given(shared=True)
    assert kind(reason) == ("Doubtful" if case in DOUBTFUL else shared)
    given(shared=True, alone=True)
    assert kind(reason) == device
    given(alone=True, held="40.0 of 80.0 GB")
    assert kind(reason) == shared


def test_what_was_raised_from_it_counts_and_what_was_raised_while_it_was_handled_does_not() -> None:
    outer = ValueError("the step failed")
    outer.__cause__ = SAYS["cublas"]()
    assert device_errors.is_out_of_memory(outer)
    outer = ValueError("the step failed")
    outer.__context__ = SAYS["cublas"]()
    assert not device_errors.is_out_of_memory(outer)
    outer.__cause__ = outer  # a circle
    assert not device_errors.is_out_of_memory(outer)


def test_what_to_do_is_said() -> None:
    given("cuda")
    remedies = {case: str(device_errors.device_fault(SAYS[case]())) for case in MACHINE}
    assert "exclusive mode" in remedies["busy"] and "exclusive mode" in remedies["busy12"]
    assert "reset" in remedies["ecc"] and "reset" in remedies["bus"] and "reset" in remedies["lost"]
    assert "driver" in remedies["old driver"] and "nvidia-smi must list it" in remedies["absent"]
    assert not any("docs.nvidia.com" in text or "\n" in text for text in remedies.values())


def run(folder: Path, *words: str, device: str = "cuda", executor: str = "inline") -> tuple[Result, list[Any]]:
    where = ["--device", device, "--executor", executor, "--results", str(folder / "r")]
    result = CliRunner().invoke(cli, ["run", "-p", "faulty", "--plugin-path", str(PLUGIN), *SMALL, *where, *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result, sorted(read_records(folder / "r").records, key=lambda record: record.identity.trial.seed)


def planted(case: str, where: str = "step", once: Path | None = None) -> list[str]:
    words = ["--set", f"faulty.says={case}", "--set", f"faulty.where={where}"]
    return words if once is None else [*words, "--set", f"faulty.once={once}"]


@pytest.mark.parametrize("where", ["build", "sample", "cause"])
def test_memory_that_ran_out_on_an_own_gpu_is_the_trials_result(where: str, tmp_path: Path) -> None:
    with pretended("cuda"):
        result, (record,) = run(tmp_path, "--seeds", "1", *planted("accelerator", where))
    assert record.status == "oom" and result.exit_code == 1
    if where != "cause":
        assert record.reason.startswith("AcceleratorError: CUDA error: out of memory (device_errors.py, line ")
    assert "tried again" not in result.stderr


@pytest.mark.parametrize("where", ["step", "build"])
def test_a_gpu_that_is_lost_is_put_aside_and_its_trial_runs_on_another(where: str, tmp_path: Path) -> None:
    with pretended("cuda", 3):
        result, records = run(tmp_path, "--seeds", "4", *planted("ecc", where, tmp_path / "once"))
    assert [record.status for record in records] == ["completed"] * 4, result.stderr
    assert result.exit_code == 0 and result.stderr.count("gets no more trials in this run") == 1
    assert "on cuda:0, one trial at a time" in result.stderr


def test_where_no_gpu_is_left_the_rest_is_not_run_and_the_same_command_runs_it(tmp_path: Path) -> None:
    with pretended("cuda"):
        result, records = run(tmp_path, "--seeds", "3", *planted("busy"))
        assert records == [] and result.exit_code == 1
        assert "3 trials were not run, for want of a GPU" in result.stderr and "exclusive mode" in result.stderr
        assert result.stderr.count("gets no more trials") == 2
        again, records = run(tmp_path, "--seeds", "3", *planted("busy"))
    assert records == [] and again.exit_code == 1


def test_what_nobody_can_tell_is_tried_once_on_another_gpu_and_is_then_the_variants(tmp_path: Path) -> None:
    with pretended("cuda"):
        result, (record,) = run(tmp_path / "ever", "--seeds", "1", *planted("launch"))
        assert record.status == "error" and "unspecified launch failure" in record.reason
        assert result.stderr.count("tried again alone") == 1
        _, (record,) = run(tmp_path / "once", "--seeds", "1", *planted("launch", once=tmp_path / "happened"))
        assert record.status == "completed"


def test_an_error_of_the_code_is_recorded_at_once(tmp_path: Path) -> None:
    with pretended("cuda"):
        result, (record,) = run(tmp_path, "--seeds", "1", *planted("assert"))
    assert record.status == "error" and record.reason.startswith("AcceleratorError: CUDA error: device-side assert")
    assert "docs.nvidia.com" not in record.reason and "tried again" not in result.stderr


def occupied(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device=None: (free * GB, 80 * GB))


def test_memory_that_other_processes_hold_is_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended("cuda"):
        occupied(monkeypatch, 40)
        result, records = run(tmp_path, "--seeds", "1", *planted("cudnn"))
        assert records == [] and result.exit_code == 1
        assert "other processes held 40.0 of 80.0 GB" in result.stderr and "1 trials were not run" in result.stderr
        occupied(monkeypatch, 79)
        _, (record,) = run(tmp_path, "--seeds", "1", *planted("cudnn"))
        assert record.status == "oom"
        occupied(monkeypatch, 40)
        _, (record,) = run(tmp_path / "done", "--seeds", "1")
        assert record.status == "completed"  # it had enough


def test_a_job_takes_its_device_and_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    fractions: list[Any] = []
    with pretended("cuda"):
        monkeypatch.setattr(
            torch.cuda,
            "set_per_process_memory_fraction",
            lambda part, device=None: fractions.append((part, str(device))),
        )
        about = {"device": "cuda:1", "shared": True, "fraction": 0.5}
        assert device_errors.take_device(about) == torch.device("cuda", 1)
        assert torch.cuda.current_device() == 1 and fractions == [(0.5, "cuda:1")]
        assert device_errors.take_device({"device": "cuda:0"}) == torch.device("cuda", 0) and len(fractions) == 1
    assert device_errors.take_device({"device": "cpu"}).type == "cpu"


def test_a_device_that_cannot_be_begun_is_the_machines_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    case = ""

    def fail(*_: Any, **__: Any) -> None:
        raise SAYS[case]()

    with pretended("cuda"):
        monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
        for case in (*MACHINE, *DOUBTFUL):  # noqa: B007 which is what is raised
            with pytest.raises(device_errors.DeviceLost, match=r"cuda:1 of .* cannot be used"):
                device_errors.take_device({"device": "cuda:1"})
        case = "accelerator"
        with pytest.raises(device_errors.Crowded, match="other processes have left no memory on cuda:1"):
            device_errors.take_device({"device": "cuda:1"})
        with pytest.raises(environment.DeviceError):
            device_errors.take_device({"device": "cuda:7"})


def test_a_device_that_went_away_is_not_the_trials_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pretended("cuda"):
        find = environment.use_device

        def use_device(name: str) -> torch.device:
            if name == "cuda:0":
                raise environment.DeviceError("--device cuda:0: torch sees no CUDA device here")
            return find(name)

        monkeypatch.setattr(environment, "use_device", use_device)
        result, records = run(tmp_path, "--seeds", "3")
    assert [record.status for record in records] == ["completed"] * 3
    assert "cuda:0 gets no more trials" in result.stderr


def test_a_metric_that_loses_the_gpu_ends_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ganbench.metrics import frechet

    real, calls = frechet.of_evidence, iter([SAYS["ecc"]()])

    def once(evidence: Any) -> Any:
        for reason in calls:
            raise reason
        return real(evidence)

    monkeypatch.setattr(frechet, "of_evidence", once)
    with pretended("cuda"):
        result, (record,) = run(tmp_path, "--seeds", "1")
    assert record.status == "completed" and record.values["fid"] is not None
    assert "gets no more trials" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--trials-per-gpu", "2", "--device", "cpu"], "trials run on cpu here"),
        (["--trials-per-gpu", "2", "--device", "cpu", "--executor", "inline"], "one trial at a time"),
        (["--gpus-per-trial", "1"], "write --device cuda: a trial gets a GPU"),
        (["--gpus-per-trial", "0.25"], "write --device cuda --trials-per-gpu 4"),
        (["--cpus-per-trial", "2"], "--threads how many cores"),
    ],
)
def test_options_of_another_place_are_answered_with_what_to_write(
    words: list[str], said: str, tmp_path: Path, ganbench: Any
) -> None:
    result = ganbench("run", "-p", "noise", "-d", "ring8", "--results", tmp_path / "r", *words)
    assert result.returncode == 2 and said in result.stderr, result.stderr


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[list[str]]]:
    """Jobs run in processes of their own, each on the pretended machine; what is called lists those that trained."""
    forkserver._forkserver._stop()  # one that an earlier test has started knows neither the plugin nor that module
    jobs = tmp_path / "jobs"
    monkeypatch.syspath_prepend(PLUGIN.parents[1] / "executors")  # where the job's process finds it too
    monkeypatch.setattr(local, "_serve", partial(importlib.import_module("pretended_job").serve, str(jobs)))
    return lambda: [line.split()[1:] for line in jobs.read_text().splitlines() if line.startswith("trial ")]


def test_the_process_of_a_lost_gpu_ends_and_the_others_go_on(processes: Any, tmp_path: Path) -> None:
    words = planted("ecc", once=tmp_path / "once")
    result, records = run(tmp_path, "--seeds", "4", "--jobs", "3", *words, executor="local")
    assert [record.status for record in records] == ["completed"] * 4, result.stderr
    assert result.exit_code == 0 and result.stderr.count("gets no more trials in this run") == 1
    trained = processes()
    assert len(trained) == 5 and {device for device, *_ in trained[:3]} == {"cuda:0", "cuda:1", "cuda:2"}


def test_memory_that_runs_out_beside_other_trials_is_tried_again_alone(processes: Any, tmp_path: Path) -> None:
    words = planted("cublas", once=tmp_path / "once")
    result, records = run(tmp_path, "--seeds", "4", "--trials-per-gpu", "2", *words, executor="local")
    assert [record.status for record in records] == ["completed"] * 4, result.stderr
    assert "CUBLAS_STATUS_ALLOC_FAILED" in result.stderr and "it is tried again alone on a GPU" in result.stderr
    assert "on 3 GPUs (cuda:0 to cuda:2), 2 trials each" in result.stderr
    trained = processes()
    assert len(trained) == 5 and [line[1:] for line in trained[:4]] == [["0.5", "False"]] * 4
    assert trained[4][1:] == ["None", "True"]
