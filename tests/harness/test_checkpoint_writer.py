"""Checkpoints are written beside the training, seldom enough, whole, and as the state was when they were due."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from ganbench.harness import checkpoint_writer
from ganbench.harness.checkpoint import capture
from ganbench.harness.checkpoint_writer import CheckpointWriter
from ganbench.harness.evaluation import Evaluator, eval_mode
from ganbench.harness.metric_values import InvalidOutput
from ganbench.harness.real_data import RealData
from ganbench.harness.serialization import Copy, Snapshot, fingerprint, load
from ganbench.harness.training import Training
from ganbench.plugin.gan import GAN
from ganbench.plugin.interfaces import Dataset, Extractor
from ganbench.utils import failpoints, signals
from ganbench.utils.files import StoreError
from ganbench.utils.seeding import derive, seed_everything

POINTS = torch.randn(300, 2, generator=torch.Generator().manual_seed(0)).numpy()
CLOUD = Dataset("cloud", (2,), None, "fid", 960, lambda split: (POINTS, None))
STEPS = 30


class Identity(Extractor):
    def __call__(self, batch):
        return batch, None


class Tiny(GAN):
    name = "tiny"

    def build_generator(self):
        return nn.Sequential(nn.Linear(self.latent_dim, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 2))

    def build_discriminator(self):
        return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))


def training(cls: type[GAN] = Tiny) -> Training:
    seed_everything(derive(0, "initialisation"))
    variant = cls(torch.Size([2]), latent_dim=4)
    seed_everything(derive(0, "training"))
    real = RealData(CLOUD, Identity("identity", 2, "0" * 64), samples=100)
    evaluator = Evaluator(real, [], 0, 32)
    about = {"budget_images": STEPS * 32, "batch_size": 32, "evaluations": 3, "seed": 0, "environment": "here"}
    return Training(variant, real, evaluator, **about)  # type: ignore[arg-type]


def run(t: Training, path: Path, seconds: float = 1e-9) -> Training:
    t.run(path, lambda entry, samples: None, lambda images: None, checkpoint_seconds=seconds)
    return t


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.safetensors"


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints may take all of the time: the next is due as soon as one is written."""
    monkeypatch.setattr(checkpoint_writer, "SHARE", 1e9)


@pytest.fixture
def armed() -> Iterator[Callable[[str], None]]:
    yield lambda text: failpoints.arm({failpoints.VARIABLE: text})
    failpoints.arm({})


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """A disk that takes nothing until the event is set, or for half a minute."""
    ready, save = threading.Event(), Snapshot.save

    def slowly(snapshot: Snapshot, path: Path) -> str:
        assert ready.wait(30)
        return save(snapshot, path)

    monkeypatch.setattr(Snapshot, "save", slowly)
    yield ready
    ready.set()


def test_a_training_does_not_wait_for_a_slow_disk(path: Path, often: None, disk: threading.Event) -> None:
    seen = []

    class Watching(Tiny):
        def train_step(self, batch, clock):
            seen.append((clock.step, path.exists()))
            if clock.last:
                disk.set()  # the disk recovers in the last step
            return super().train_step(batch, clock)

    run(training(Watching), path)
    assert [step for step, _ in seen] == list(range(STEPS)) and not any(there for _, there in seen)
    assert load(path)["telemetry"]["step"] == 0  # one was begun, no second one waited; the end waited for it


def test_what_changes_after_the_copy_does_not_reach_the_file(path: Path, disk: threading.Event) -> None:
    t = training()
    t.advance(3, float("inf"))
    t.evaluate(last=False)
    expected = t.snapshot().fingerprint()
    with CheckpointWriter(1e-9) as writer:
        writer.write(lambda: [(path, t.snapshot())])
        with torch.no_grad():
            for tensor in (*t.variant.parameters(), *t.variant.buffers()):
                tensor.zero_()
        for optimizer in t.variant.optimizers.values():
            for state in optimizer.state.values():
                state["step"] += 1
            optimizer.param_groups[0]["lr"] = 7.0
        t.history[0]["step"] = 99
        t.seconds["training"] = -1.0
        t.telemetry.losses["generator"].values.append(1.0)
        disk.set()
    assert fingerprint(load(path)) == expected


@pytest.mark.skipif(os.name == "nt", reason="forks")
@pytest.mark.parametrize("place", ["open", "write", "fsync", "rename"])
def test_a_kill_while_the_thread_writes_leaves_the_one_before(
    place: str, path: Path, often: None, armed: Callable[[str], None]
) -> None:
    whole = run(training(), path.with_name("other"))
    if not (child := os.fork()):
        armed(f"{place}.{path.name}:3:kill")

        class Slow(Tiny):
            def train_step(self, batch, clock):
                time.sleep(0.005)  # let the thread come to its write
                return super().train_step(batch, clock)

        run(training(Slow), path)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    second = training()
    assert second.resume(path) and second.telemetry.step > 0
    run(second, path)
    assert second.history == whole.history
    assert fingerprint(capture(second.variant)) == fingerprint(capture(whole.variant))


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_is_told_as_if_the_training_had_written(
    nth: int, path: Path, often: None, armed: Callable[[str], None]
) -> None:
    armed(f"write.{path.name}:{nth}:ENOSPC")
    with pytest.raises(StoreError, match=r"cannot write .*checkpoint\.safetensors: No space left on device; make room"):
        run(training(), path)
    assert [one.name for one in path.parent.iterdir()] == ([] if nth == 1 else [path.name])


def test_a_full_disk_is_told_at_the_end_at_the_latest(path: Path, armed: Callable[[str], None]) -> None:
    armed(f"write.{path.name}:1:ENOSPC")
    with pytest.raises(StoreError), CheckpointWriter(5) as writer:
        writer.write(lambda: [(path, Snapshot({}))])
    with CheckpointWriter(5) as writer:
        writer.write(lambda: [(path, Snapshot({"a": 1}))])
    assert load(path) == {"a": 1}


def test_asked_to_stop_while_one_is_written_it_writes_a_last_one(
    path: Path, often: None, disk: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = training()

    def stop() -> bool:
        if t.telemetry.step < 7:
            return False
        disk.set()
        return True

    monkeypatch.setattr(signals, "stop_requested", stop)
    with pytest.raises(signals.Interrupted):
        run(t, path)
    assert load(path)["telemetry"]["step"] == 7


def test_a_second_of_zero_writes_after_every_step_and_waits(path: Path) -> None:
    found = []

    class Watching(Tiny):
        def train_step(self, batch, clock):
            found.append((load(path)["telemetry"]["step"], clock.step))
            return super().train_step(batch, clock)

    run(training(Watching), path, seconds=0)
    assert found == [(step, step) for step in range(STEPS)]


class Clock:
    """Stands for the module ``time``."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("copying", "writing", "due"), [(0.0, 0.0, 5.0), (0.01, 0.08, 5.0), (0.5, 0.5, 50.0), (0.0, 3.0, 150.0)]
)
def test_the_next_one_is_due_when_the_last_took_two_percent_of_the_time(
    copying: float, writing: float, due: float, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(checkpoint_writer, "time", clock)
    written = threading.Event()

    class Dear(Snapshot):
        def __init__(self) -> None:
            clock.now += copying

        def save(self, path: Path) -> str:
            assert written.wait(30)
            clock.now += writing
            return ""

    with CheckpointWriter(5) as writer:
        clock.now = 4.9
        assert not writer.is_due() and writer.look_again() == 5.0
        clock.now = 5.0
        assert writer.is_due()
        writer.write(lambda: [(path, Dear())])
        assert not writer.is_due()  # it is still being written
        assert writer.look_again() == clock.now + 5.0
        written.set()
        writer.wait()
        clock.now = 5.0 + due - 0.01
        assert not writer.is_due()
        clock.now = 5.0 + due
        assert writer.is_due()


def test_the_first_one_of_a_large_state_is_not_due_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(checkpoint_writer, "time", clock)
    small, large, every = CheckpointWriter(5, 10**6), CheckpointWriter(5, 10**8), CheckpointWriter(0, 10**9)
    clock.now = 5.0
    assert small.is_due() and not large.is_due() and every.is_due()
    clock.now = 50.0
    assert large.is_due()


def test_the_size_of_a_checkpoint_is_known_before_it_is_written(path: Path) -> None:
    class Large(Tiny):
        def build_discriminator(self):
            return nn.Sequential(nn.Linear(2, 20_000), nn.ReLU(), nn.Linear(20_000, 1))

    t = run(training(Large), path, seconds=0)
    assert t.size() == pytest.approx(path.stat().st_size, rel=0.05)


def test_an_evaluation_computes_no_fingerprint_and_sees_every_change(monkeypatch: pytest.MonkeyPatch) -> None:
    variant = training().variant

    def never(*_: object) -> str:
        raise AssertionError("a fingerprint was computed")

    monkeypatch.setattr("ganbench.harness.serialization._digest", never)
    with eval_mode(variant, 0):
        pass
    for change in (
        lambda: variant.generator[0].weight.data.view(-1)[-1:].mul_(1.0000001),
        lambda: variant.generator[1].running_mean.add_(1.0),
        lambda: variant.generator[1].num_batches_tracked.add_(1),
        lambda: setattr(variant, "note", 1),
        lambda: setattr(variant, "note", True),  # equal to 1
        lambda: variant.memory.update(pool=[torch.zeros(3)]),
        lambda: variant.memory["pool"][0].neg_(),  # -0 is equal to 0
        lambda: variant.memory["pool"].append(torch.zeros(0)),
        lambda: variant.optimizers["generator"].param_groups[0].update(lr=0.5),
    ):
        with pytest.raises(InvalidOutput, match="changed its own state"), eval_mode(variant, 0):
            change()


def test_a_copy_equals_what_has_the_same_bits() -> None:
    value = {
        "nan": torch.tensor([float("nan"), -0.0]),
        "turned": torch.arange(6.0).reshape(2, 3).T,
        "spread": torch.zeros(1).expand(4),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "complex": torch.tensor([1j]).conj(),
        "mask": torch.tensor([True]),
        "empty": torch.zeros(0, 3),
        "alone": torch.tensor(5, dtype=torch.int64),
        "not a number": float("nan"),
    }
    copy = Copy(value)
    assert copy.equals(value) and copy.equals({**value, "turned": value["turned"].contiguous()})
    assert fingerprint(copy.value("cpu")) == fingerprint(value)
    assert not copy.equals({**value, "half": value["half"].float()})
    assert not copy.equals({**value, "empty": torch.zeros(3, 0)})
    assert not copy.equals({**value, "alone": torch.tensor(6)})
    value["turned"][0, 0] = 1.0
    assert not copy.equals(value)
