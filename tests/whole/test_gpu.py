"""What only a CUDA device can show. Skipped without one; docs/performance.md says which of these were ever run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from ganbench.cli import cli
from ganbench.harness import environment
from ganbench.harness.seeds_engine.lockstep import copy_of_global_generator
from ganbench.results.schema import Record
from ganbench.results.store import read_records
from ganbench.utils.seeding import pin, rng_state, seed_everything, set_rng_state

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here"),
]


def sweep(folder: Path, *more: str) -> list[Record]:
    words = "run -d digits --images 1280 --evaluations 2 --samples 200 --device cuda --metrics fid --results"
    result = CliRunner().invoke(cli, [*words.split(), str(folder), *more])
    assert result.exit_code == 0, result.output
    return read_records(folder).records


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_trial_repeats_its_bits(precision: str, tmp_path: Path) -> None:
    first, second = (
        sweep(tmp_path / name, "-p", "dcgan,vanilla", "--seeds", "1", "--precision", precision) for name in "ab"
    )
    assert {r.status for r in first} == {"completed"}
    assert [r.state_sha256 for r in first] == [r.state_sha256 for r in second]
    assert {r.identity.trial.device for r in first} == {"cuda"}
    assert {r.environment["device"] for r in first} == {torch.cuda.get_device_name(0)}


def test_seeds_together_repeat_their_bits_and_need_not_be_asked_for_at_once(tmp_path: Path) -> None:
    words = ("-p", "vanilla", "--set", "vanilla.width=32", "--engine", "seeds")
    both = sweep(tmp_path / "a", *words, "--seeds", "4")
    some = sweep(tmp_path / "b", *words, "--seeds", "1,2,3")
    assert {r.identity.trial.engine for r in both} == {"seeds"}
    known = {r.identity.trial.seed: r.state_sha256 for r in both}
    assert all(known[r.identity.trial.seed] == r.state_sha256 for r in some)


def test_random_states_come_back() -> None:
    seed_everything(0)
    torch.rand(3, device="cuda")
    state, own = rng_state(), copy_of_global_generator(torch.device("cuda", 0))
    drawn = torch.rand(5, device="cuda")
    assert torch.equal(torch.rand(5, device="cuda", generator=own), drawn)
    set_rng_state(state)
    assert torch.equal(torch.rand(5, device="cuda"), drawn)


def test_switches_are_set_before_the_first_call() -> None:
    pin(1)
    assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


def test_several_devices_take_turns() -> None:
    assert environment.devices("auto") == [f"cuda:{i}" for i in range(torch.cuda.device_count())]


HOARDER = """
import torch
from ganbench.plugin import Variant, hookimpl

class Hoarder(Variant):
    name = "hoarder"
    def train_step(self, batch, clock):
        self.memory[f"of step {clock.step}"] = torch.ones(2**32, device=batch.data.device)  # 16 GiB
        return {}
    def sample(self, n, rng=None):
        return torch.zeros(n, *self.shape, device=rng.device)

@hookimpl
def ganbench_variants():
    return [Hoarder]
"""


def test_a_trial_that_fills_the_device_is_out_of_memory(tmp_path: Path) -> None:
    (tmp_path / "hoarder.py").write_text(HOARDER)
    words = "run -p hoarder -d digits --seeds 1 --images 64000 --evaluations 1 --samples 200 --device cuda --results"
    result = CliRunner().invoke(
        cli, [*words.split(), str(tmp_path / "r"), "--plugin-path", str(tmp_path / "hoarder.py")]
    )
    (record,) = read_records(tmp_path / "r").records
    assert record.status == "oom" and "CUDA out of memory" in record.reason, result.output
