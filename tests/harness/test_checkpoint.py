"""Checkpoints: the state comes back to the bit, what does not fit is refused, and a flipped bit is noticed."""

from __future__ import annotations

import random
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ganbench.harness.checkpoint import StateMismatch, capture, restore
from ganbench.harness.serialization import Unreadable, fingerprint, load, save
from ganbench.plugin.gan import GAN
from ganbench.plugin.variant import Batch, Clock, Variant
from ganbench.results.state_digest import stored_digest
from ganbench.utils.seeding import preserved_rng, rng_state, seed_everything, set_rng_state


class Demanding(GAN):
    """Uses every kind of state that the contract allows."""

    name = "demanding"

    def __init__(self, shape, **hyperparameters):
        super().__init__(shape, latent_dim=4, **hyperparameters)
        self.alpha = 0.0
        self.nothing = None
        self.register_buffer("pool", torch.empty(0, 2), persistent=False)
        self.average = nn.Linear(4, 8).requires_grad_(False)

    def build_generator(self):
        return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))

    def build_discriminator(self):
        conv = nn.Conv2d(2, 4, 1).to(memory_format=torch.channels_last)
        return nn.Sequential(nn.Unflatten(1, (2, 1, 1)), conv, nn.Flatten(), nn.Linear(4, 1))

    def train_step(self, batch, clock):
        losses = super().train_step(batch, clock)
        self.alpha = clock.fraction
        self.pool = torch.cat([self.pool, batch.data[:1]])
        self.memory.setdefault("seen", []).append((clock.step, batch.data.mean(), random.random(), np.random.rand()))
        self.average.weight.lerp_(self.generator[0].weight.detach(), 0.1)
        if clock.step == 4:
            self.optimizers["generator"] = torch.optim.RMSprop(self.generator.parameters(), lr=1e-3)
        for group in self.optimizers["discriminator"].param_groups:
            group["lr"] = 1e-3 * (1 - clock.fraction)
        return losses


def build() -> Demanding:
    seed_everything(1)
    variant = Demanding(torch.Size([2]))
    seed_everything(2)
    return variant


def step(variant: Variant, i: int) -> None:
    data = torch.randn(8, 2, generator=torch.Generator().manual_seed(i))
    variant.train_step(Batch(data), Clock(i, 8 * i, 96, i / 12, i == 11))


@pytest.mark.parametrize("stop", range(13))
def test_a_run_resumed_at_any_step_ends_in_the_same_bits(stop: int, tmp_path: Path) -> None:
    whole = build()
    for i in range(12):
        step(whole, i)
    expected = fingerprint({"variant": capture(whole), "rng": rng_state()})

    first = build()
    for i in range(stop):
        step(first, i)
    save(tmp_path / "c", {"variant": capture(first), "rng": rng_state()})

    second = build()
    saved = load(tmp_path / "c")
    restore(second, saved["variant"])
    set_rng_state(saved["rng"])
    for i in range(stop, 12):
        step(second, i)
    assert fingerprint({"variant": capture(second), "rng": rng_state()}) == expected


@pytest.mark.parametrize("left_out", ["rng", "optimizers", "memory", "buffers"])
def test_leaving_a_part_of_the_state_out_shows(left_out: str, tmp_path: Path) -> None:
    """Negative controls: the test above can fail."""
    whole = build()
    for i in range(12):
        step(whole, i)
    first = build()
    for i in range(6):
        step(first, i)
    save(tmp_path / "c", {"variant": capture(first), "rng": rng_state()})
    second = build()
    saved = load(tmp_path / "c")
    fresh = capture(build())
    if left_out != "rng":
        saved["variant"][left_out] = fresh[left_out]
        set_rng_state(saved["rng"])
    restore(second, saved["variant"])
    for i in range(6, 12):
        step(second, i)
    assert fingerprint(capture(second)) != fingerprint(capture(whole))


def test_a_state_of_another_structure_is_refused() -> None:
    state = capture(build())

    class Other(Demanding):
        def build_generator(self):
            return nn.Linear(4, 2)

    with pytest.raises(StateMismatch):
        restore(Other(torch.Size([2])), state)
    reshaped = {**state, "parameters": {**state["parameters"], "generator.0.weight": torch.zeros(3, 3)}}
    with pytest.raises(StateMismatch, match="shape"):
        restore(build(), reshaped)
    stranger = {**state, "optimizers": {"generator": {"class": "system", "groups": [], "state": {}}}}
    with pytest.raises(StateMismatch, match="not one of"):
        restore(build(), stranger)


def test_a_foreign_tensor_in_an_optimizer_is_named() -> None:
    variant = build()
    variant.optimizers["extra"] = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.1)
    with pytest.raises(TypeError, match="no parameter of the variant"):
        capture(variant)


LION = """
import torch

class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr, betas=(0.9, 0.99)):
        super().__init__(params, {"lr": lr, "betas": betas})
        self.taken = 0

    @torch.no_grad()
    def step(self, closure=None):
        self.taken += 1
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    average = self.state[p].setdefault("average", torch.zeros_like(p))
                    p.sub_(group["lr"] / self.taken * average.lerp(p.grad, 1 - group["betas"][0]).sign())
                    average.lerp_(p.grad, 1 - group["betas"][1])

    def state_dict(self):
        return {**super().state_dict(), "taken": self.taken}

    def load_state_dict(self, state):
        self.taken = state["taken"]
        super().load_state_dict({key: value for key, value in state.items() if key != "taken"})
"""


class Habits(GAN):
    """What users of training frameworks hold: schedules, a scaler, averages, an optimizer of a package."""

    name = "habits"

    def __init__(self, shape, **hyperparameters):
        super().__init__(shape, latent_dim=4, **hyperparameters)
        g, d = self.optimizers["generator"], self.optimizers["discriminator"]
        warm = torch.optim.lr_scheduler.LinearLR(g, 0.1, total_iters=3)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(g, 9)
        self.schedules = [
            torch.optim.lr_scheduler.SequentialLR(g, [warm, cosine], [3]),
            torch.optim.lr_scheduler.MultiStepLR(d, [2, 2, 7], 0.5),
        ]
        self.plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(d, patience=1)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        self.average = torch.optim.swa_utils.AveragedModel(self.generator).requires_grad_(False)

    def build_generator(self):
        return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))

    def build_discriminator(self):
        return nn.Linear(2, 1)

    def train_step(self, batch, clock):
        if clock.step == 4:
            from a_lion import Lion

            self.optimizers["generator"] = Lion(self.generator.parameters(), lr=1e-3)
        losses = super().train_step(batch, clock)
        for schedule in self.schedules:
            schedule.step()
        self.plateau.step(losses["discriminator"].detach())
        self.optimizers["discriminator"].zero_grad()
        self.scaler.scale(self.judge(batch).mean()).backward()
        self.scaler.step(self.optimizers["discriminator"])
        self.scaler.update()
        self.average.update_parameters(self.generator)
        return losses


@pytest.fixture
def lion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution of an optimizer, imported by nobody yet."""
    from ganbench.harness import checkpoint

    info = tmp_path / "site" / "a_lion-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-lion\nVersion: 1.0\n")
    (info / "RECORD").write_text("a_lion.py,,\n")
    (info / "top_level.txt").write_text("a_lion\n")
    (info.parent / "a_lion.py").write_text(LION)
    monkeypatch.syspath_prepend(info.parent)
    monkeypatch.delitem(sys.modules, "a_lion", raising=False)
    checkpoint._owners.cache_clear()
    yield info
    sys.modules.pop("a_lion", None)
    checkpoint._owners.cache_clear()


def habits() -> Habits:
    seed_everything(1)
    variant = Habits(torch.Size([2]))
    seed_everything(2)
    return variant


@pytest.mark.parametrize("stop", [0, 1, 4, 5, 8, 11])
def test_schedules_scalers_averages_and_a_foreign_optimizer_come_back(stop: int, tmp_path: Path, lion: Path) -> None:
    whole, first = habits(), habits()
    seed_everything(2)
    for i in range(12):
        step(whole, i)
    expected = fingerprint({"variant": capture(whole), "rng": rng_state()})
    seed_everything(2)
    for i in range(stop):
        step(first, i)
    save(tmp_path / "c", {"variant": capture(first), "rng": rng_state()})
    sys.modules.pop("a_lion", None)  # another process has not imported it

    second = habits()
    saved = load(tmp_path / "c")
    restore(second, saved["variant"])
    set_rng_state(saved["rng"])
    for i in range(stop, 12):
        step(second, i)

    assert fingerprint({"variant": capture(second), "rng": rng_state()}) == expected
    assert type(second.optimizers["generator"]).__name__ == "Lion" and second.optimizers["generator"].taken == 8


def test_objects_that_a_fresh_variant_has_not_are_named() -> None:
    variant = habits()
    state = capture(variant)
    variant.late = torch.optim.lr_scheduler.StepLR(variant.optimizers["generator"], 2)
    with pytest.raises(StateMismatch, match=r"late is not there .* StepLR .* make it in __init__"):
        restore(habits(), capture(variant))
    with pytest.raises(StateMismatch, match=r"schedules.1 is MultiStepLR .* was not there"):
        restore(habits(), {**state, "objects": {k: v for k, v in state["objects"].items() if k != "schedules.1"}})


def test_what_an_object_holds_and_no_file_can_is_named() -> None:
    variant = habits()
    variant.bag = type(
        "Bag", (), {"state_dict": lambda self: {"f": print}, "load_state_dict": lambda self, state: None}
    )()
    with pytest.raises(TypeError, match=r"state\.objects\.bag\.state\.f holds a builtin_function"):
        fingerprint(capture(variant))


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        ({"class": "system", "module": "os"}, "system is not one of os"),
        ({"class": "Lion", "module": "a_lion", "distribution": None}, "a_lion, which is not installed"),
        ({"class": "Lion", "module": "a_lion", "distribution": "a-tiger"}, "a-tiger, which is not installed"),
        ({"class": "s", "module": "antigravity", "distribution": "a-lion"}, "antigravity, which is not one of a-lion"),
    ],
)
def test_a_checkpoint_imports_no_module_but_an_installed_one_of_the_distribution_it_names(
    of: dict[str, object], reason: str, lion: Path
) -> None:
    state = capture(habits())
    with pytest.raises(StateMismatch, match=reason):
        restore(habits(), {**state, "optimizers": {"generator": {"groups": [], "state": {}, **of}}})
    assert "antigravity" not in sys.modules


def test_files_are_equal_byte_for_byte_and_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    value = {"a": torch.arange(6.0).reshape(2, 3), "b": [1, (2.5, float("nan"), None)], 3: torch.tensor(True), "e": {}}
    assert save(tmp_path / "one", value) == save(tmp_path / "two", value) == fingerprint(value)
    content = (tmp_path / "one").read_bytes()
    assert content == (tmp_path / "two").read_bytes()
    back = load(tmp_path / "one")
    assert torch.equal(back["a"], value["a"]) and back["b"][1][0] == 2.5 and back[3].dtype == torch.bool
    rng = random.Random(0)
    damaged = tmp_path / "damaged"
    for _ in range(200):
        flipped = bytearray(content)
        flipped[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        damaged.write_bytes(flipped)
        try:
            found = load(damaged)
        except Unreadable:
            continue
        assert fingerprint(found) == fingerprint(value)  # a bit that nothing reads, such as padding
    for length in range(0, len(content), 37):
        damaged.write_bytes(content[:length])
        with pytest.raises(Unreadable):
            load(damaged)


KEYS = st.one_of(
    st.sampled_from(
        ["", ".", "a", "b", "a.b", "a.b~2", "a~2", "/", "0", "1", "True", "None", "\0", "x" * 500, "\u00e9"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.integers(-2, 3),
    st.booleans(),
    st.none(),
    st.sampled_from([0.5, -0.0, float("inf")]),
)
LEAVES = st.one_of(
    st.integers(0, 5).map(torch.tensor),
    st.lists(st.floats(width=32), max_size=3).map(torch.tensor),
    st.sampled_from(
        [torch.zeros(0, 3), torch.tensor(True), torch.arange(6.0).reshape(2, 3).t(), torch.tensor(1j).conj()]
    ),
    st.sampled_from([torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.complex64)]),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
STATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.lists(inner, max_size=3).map(tuple), st.dictionaries(KEYS, inner, max_size=5)
    ),
    max_leaves=12,
)


def exact(value: object) -> object:
    """What two values have in common only if they are equal in every type, bit and order."""
    if isinstance(value, torch.Tensor):
        flat = value.resolve_conj().contiguous().reshape(-1).view(torch.uint8)
        return ("tensor", value.dtype, tuple(value.shape), bytes(flat.tolist()))
    if isinstance(value, dict):
        return ("dict", [(exact(key), exact(item)) for key, item in value.items()])
    if isinstance(value, list | tuple):
        return (type(value), [exact(item) for item in value])
    return (type(value), repr(value))


@settings(max_examples=150, deadline=None)
@given(STATES, STATES)
def test_any_nested_state_comes_back_exactly_and_another_has_another_hash(one: object, other: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state"
        assert save(path, one) == fingerprint(one) == stored_digest(path.read_bytes())
        assert exact(load(path)) == exact(one)
    assert (fingerprint(one) == fingerprint(other)) == (exact(one) == exact(other))


def test_keys_that_read_alike_keep_their_own_tensors(tmp_path: Path) -> None:
    t1, t2, t3, t4 = (torch.tensor(float(i)) for i in range(1, 5))
    save(tmp_path / "state", {"a.b": t1, "a": {"b": t2}, 1: t3, "1": t4})
    back = load(tmp_path / "state")
    assert (back["a.b"], back["a"]["b"], back[1], back["1"]) == (t1, t2, t3, t4)


def test_the_fingerprint_of_a_state_without_such_keys_is_as_it_was() -> None:
    value = {"a": torch.arange(3.0), "net.0.weight": torch.ones(2), "state": {0: {"step": torch.tensor(1.0)}}}
    assert fingerprint(value) == "14834e22d6c75b4a7c853a0243f7ee397d7892f44144eb21773e8083f785e4e8"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (torch.ones(2, 2).to_sparse(), "sparse or quantized"),
        (torch.ones(2, device="meta"), "without values"),
        (torch.ones(2, dtype=torch.complex128), "complex128"),
        (namedtuple("Point", "x y")(1, 2), "a Point"),
        ({(1, 2): 3}, "a key that is no scalar"),
    ],
)
def test_what_a_file_cannot_hold_is_refused(value: object, reason: str) -> None:
    with pytest.raises(TypeError, match=rf"state\.memory.*{reason}"):
        fingerprint({"memory": value})


def test_what_cannot_be_saved_is_named() -> None:
    with pytest.raises(TypeError, match=r"state\.memory\.pool holds a object"):
        fingerprint({"memory": {"pool": object()}})


def test_preserved_rng_puts_all_three_generators_back() -> None:
    seed_everything(5)
    expected = [torch.rand(1).item(), np.random.rand(), random.random()]
    seed_everything(5)
    with preserved_rng(7):
        torch.rand(10), np.random.rand(10), random.random()
    assert [torch.rand(1).item(), np.random.rand(), random.random()] == expected
