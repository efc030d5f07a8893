"""Each check finds the plugin that breaks its rule, nothing else does, and a sound plugin passes all."""

from __future__ import annotations

import hashlib
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ganbench.conformance import CheckFailed, checks_for
from ganbench.conformance.errors import NotChecked
from ganbench.conformance.suite import ORDER
from ganbench.conformance.variant_runner import same_bits
from ganbench.plugin import Dataset, Extractor, Metric, NotApplicable, Reporter
from ganbench.utils.errors import UsageError

FIXTURES = str(Path(__file__).parents[1] / "fixtures")
# A fresh interpreter, or twelve steps of DCGAN: seconds each.
DEAR = ("picklable_across_processes", "time_per_step")
FLAWS = {**dict.fromkeys(ORDER, 1), "no_global_state_changed": 3, "learns_only_through_the_discriminator": 2}


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FIXTURES)


def test_samples_are_the_same_only_if_every_bit_is() -> None:
    nan, one = torch.tensor([math.nan]), torch.tensor([0.0])
    assert same_bits(nan, nan.clone()) and same_bits(one, one.clone())
    for other in (torch.tensor([7.0]), -one, one[None], one.double()):
        assert not same_bits(nan, other) and not same_bits(one, other)
    assert not same_bits(torch.tensor([math.inf]), torch.tensor([torch.finfo(torch.float32).max]))


def failing(plugin, but: tuple[str, ...] = ()) -> dict[str, str]:
    """The checks that a plugin fails, with what they say."""
    found = {}
    for check in checks_for(plugin):
        if check.name in but:
            continue
        try:
            check(plugin)
        except NotChecked:
            continue
        except CheckFailed as reason:
            found[check.name] = str(reason)
    return found


@pytest.mark.parametrize(("name", "i"), [(name, i) for name in ORDER for i in range(FLAWS[name])])
def test_a_flaw_is_found_by_its_check_alone(name: str, i: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from flawed import FLAWED

    # DCGAN is slow where the machine is busy; two seconds of sleep are not 50 times that.
    monkeypatch.setattr("ganbench.conformance.checks.variants.MOST_TIMES", 0.5)
    monkeypatch.setattr("ganbench.conformance.checks.variants.ROUNDS", 2)

    assert set(FLAWED) == set(ORDER) and len(FLAWED[name]) == FLAWS[name]
    found = failing(FLAWED[name][i], but=tuple(dear for dear in DEAR if dear != name))
    assert set(found) == {name}, found
    assert SAID.get(name, "") in found[name]


@pytest.mark.slow  # pytest -m slow tests/conformance/test_checks.py
@pytest.mark.parametrize("name", ORDER)
def test_a_flaw_is_found_by_its_check_alone_among_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from flawed import FLAWED

    monkeypatch.setattr("ganbench.conformance.checks.variants.MOST_TIMES", 0.5)
    monkeypatch.setattr("ganbench.conformance.checks.variants.ROUNDS", 2)

    for flawed in FLAWED[name]:
        assert set(failing(flawed)) == {name}


def test_a_sound_variant_passes_everything() -> None:
    from flawed import Sound

    assert failing(Sound, but=("time_per_step",)) == {}


SAID = {
    "shapes_and_dtypes": "on 32x32x3: sample(3) returned",
    "exact_save_and_load": "Training changes pool",
    "exact_resume": "Training changes schedule",
    "optimizers_named": "'generator' and 'discriminator'",
    "parameters_in_one_optimizer": "in no optimizer: scale",
    "hyperparameters_documented": "weight: Annotated[float",
    "finite_losses": "'ratio' is inf at step 30",
    "devices": "self.shift holds a tensor that is no buffer",
}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_tensor_made_on_the_wrong_device_is_found() -> None:
    from flawed import Sound

    class OnTheCPU(Sound):
        def fake(self, z):
            return super().fake(z + torch.zeros(len(z), 1))

    found = failing(OnTheCPU, but=DEAR)
    assert set(found) == {"devices"} and "cuda" in found["devices"]


def cloud(split):
    return np.random.RandomState({"train": 1, "test": 2}[split]).randn(200, 2).astype("float32"), None


def dataset(**changes) -> Dataset:
    fields = {"name": "cloud", "shape": (2,), "classes": None, "primary": "coverage", "budget_images": 1000}
    return Dataset(**{**fields, "load": cloud, **changes})


def labelled(split):
    return cloud(split)[0], np.array([0, 1, 2, 5] * 50)


DATASETS = {
    "declares_itself": dataset(primary="coverag"),
    "splits_as_declared": dataset(classes=6, load=labelled),
    "deterministic_content": dataset(load=lambda split: (np.random.RandomState().rand(200, 2).astype("float32"), None)),
    "held_out_is_held_out": dataset(load=lambda split: cloud("train")),
    "no_global_state_changed": dataset(load=lambda split: (np.random.seed(3), cloud(split))[1]),
}


class Pixels(Extractor):
    name, size, weights_hash = "first-pixels", 16, hashlib.sha256(b"first 16").hexdigest()

    def __call__(self, batch):
        return batch.flatten(1)[:, :16].float(), None


class PointsToo(Pixels):
    def __call__(self, batch):
        if batch.dim() == 2:
            raise ValueError("images only")
        return super().__call__(batch)


class WrongHash(PointsToo):
    weights_hash = "v1"


class WrongSize(PointsToo):
    size = 17


class Jitter(PointsToo):
    def __call__(self, batch):
        return super().__call__(batch)[0] + 1e-3 * np.random.RandomState().rand(), None


class Batchwise(PointsToo):
    def __call__(self, batch):
        features = super().__call__(batch)[0]
        return features - features.mean(0), None


class Scaled(PointsToo):
    def __call__(self, batch):
        features = super().__call__(batch)[0]
        return features if batch.is_floating_point() else features / 255, None


class Threaded(PointsToo):
    def __call__(self, batch):
        torch.set_num_threads(torch.get_num_threads() % 4 + 1)
        return super().__call__(batch)


EXTRACTORS = {
    "declares_its_weights": WrongHash(),
    "features_as_declared": WrongSize(),
    "deterministic_features": Jitter(),
    "rows_by_themselves": Batchwise(),
    "bytes_and_floats_agree": Scaled(),
    "leaves_the_process_alone": Threaded(),
}


class Distance(Metric):
    name, label, direction, needs = "distance", "Distance", "min", frozenset({"features"})

    def __call__(self, evidence):
        return float(np.abs(evidence.fake.features.mean(0) - evidence.real.features.mean(0)).max())


class Unlabelled(Distance):
    label = ""


class Nowhere(Distance):
    def __call__(self, evidence):
        raise NotApplicable("needs another kind of data")


class Noisy(Distance):
    def __call__(self, evidence):
        return super().__call__(evidence) + 1e-6 * np.random.RandomState().rand()


class Sorting(Distance):
    def __call__(self, evidence):
        value = super().__call__(evidence)
        evidence.fake.features.sort(axis=0)
        return value


class Reversed(Distance):
    direction = "max"


class Drawing(Distance):
    def __call__(self, evidence):
        np.random.rand()
        return super().__call__(evidence)


METRICS = {
    "declares_itself": Unlabelled(),
    "returns_numbers": Nowhere(),
    "deterministic_scores": Noisy(),
    "evidence_left_alone": Sorting(),
    "better_is_better": Reversed(),
    "no_global_state_changed": Drawing(),
}


class Lines(Reporter):
    name, suffix = "lines", ".txt"

    def write(self, leaderboard, trials, folder):
        (folder / "lines.txt").write_text(leaderboard.to_string())


class Dotless(Lines):
    suffix = "txt"


class Elsewhere(Lines):
    suffix = ".tex"


class Dated(Lines):
    def write(self, leaderboard, trials, folder):
        (folder / "lines.txt").write_text(np.random.RandomState().bytes(8).hex())


class Filling(Lines):
    def write(self, leaderboard, trials, folder):
        super().write(leaderboard, trials, folder)
        trials["mine"] = 1


class Strict(Lines):
    def write(self, leaderboard, trials, folder):
        super().write(leaderboard, trials, folder)
        np.seterr(all="raise", under="ignore" if np.geterr()["under"] == "raise" else "raise")


REPORTERS = {
    "declares_its_suffix": Dotless(),
    "writes_its_file": Elsewhere(),
    "deterministic_bytes": Dated(),
    "tables_left_alone": Filling(),
    "leaves_the_process_alone": Strict(),
}
ALL = {"dataset": DATASETS, "extractor": EXTRACTORS, "metric": METRICS, "reporter": REPORTERS}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, flawed in ALL.items() for name in flawed])
def test_a_flaw_of_another_kind_is_found_by_its_check_alone(kind: str, name: str) -> None:
    plugin = ALL[kind][name]
    assert [check.name for check in checks_for(plugin)] == list(ALL[kind])
    assert set(failing(plugin)) == {name}


@pytest.mark.parametrize("plugin", [dataset(), PointsToo(), Distance(), Lines()], ids=lambda plugin: plugin.name)
def test_sound_plugins_of_other_kinds_pass(plugin) -> None:
    assert failing(plugin) == {}


def test_the_package_offers_its_names_whatever_was_imported_before() -> None:
    import ganbench.conformance

    assert ganbench.conformance.Subject.__name__ == "Subject"
    for name in ganbench.conformance.__all__:
        assert callable(getattr(ganbench.conformance, name)), name  # a module of the same name is not


def test_what_cannot_be_checked_is_refused() -> None:
    from flawed import Sound

    with pytest.raises(UsageError, match="cannot be checked"):
        checks_for(3)
    with pytest.raises(UsageError, match="did you mean vanilla"):
        checks_for("vanila")
    with pytest.raises(UsageError, match="is a check of datasets"):
        checks_for(dataset())[0](Sound)


def test_modules_of_another_distribution_are_known_and_files_beside_the_own_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganbench.conformance.checks.variant_declarations import unknown_files
    from ganbench.discovery.imports import _owners
    from ganbench.discovery.source_hash import covered_files

    monkeypatch.syspath_prepend(tmp_path)
    _owners.cache_clear()
    info = tmp_path / "others_losses-1.0.dist-info"
    (tmp_path / "losses_of_others").mkdir()
    info.mkdir()
    names = [f"losses_of_others/{name}.py" for name in ("__init__", "hinge", "never_imported")]
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others-losses\nVersion: 1.0\n")
    (info / "RECORD").write_text("\n".join(f"{name},," for name in names))
    for name, text in zip(names, ("from .hinge import *\n", "LOSS = 1\n", ""), strict=True):
        (tmp_path / name).write_text(text)
    (tmp_path / "built_on_others.py").write_text("from losses_of_others import LOSS\nclass C: pass\n")
    (tmp_path / "table.json").write_text("[]")

    cls = importlib.import_module("built_on_others").C
    own, others = covered_files(cls, "file:built_on_others.py")

    assert own == {tmp_path / "built_on_others.py"} and others == {tmp_path / name for name in names}
    read = [tmp_path / name for name in (*names, "built_on_others.py", "table.json")]
    assert unknown_files(read, own, others) == [tmp_path / "table.json"]
    for name in ("venv/lib/site-packages/drawing/font.json", "cache/matplotlib/fontlist-v390.json", "weights.pt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        read.append(tmp_path / name)
    assert unknown_files(read, own, others) == [tmp_path / "table.json", tmp_path / "weights.pt"]
    beside = tmp_path / "fontlist-v1.json"  # by that name, and yet the plugin's own
    assert unknown_files([beside], own, others) == [beside]
