from __future__ import annotations

import pytest

from ganbench.runner.planning import Request, parse_seeds, parse_settings, plan
from ganbench.utils.errors import UsageError


@pytest.mark.parametrize(
    ("texts", "seeds"),
    [
        ((), (0, 1, 2, 3, 4)),
        (("5",), (0, 1, 2, 3, 4)),
        (("1",), (0,)),
        (("7,",), (7,)),
        (("7-7",), (7,)),
        (("3,7",), (3, 7)),
        (("10-12",), (10, 11, 12)),
        (("3", "7"), (3, 7)),
        (("3", "3"), (3,)),
        (("0-1,5",), (0, 1, 5)),
    ],
)
def test_seeds(texts, seeds) -> None:
    assert parse_seeds(texts) == seeds


@pytest.mark.parametrize(
    "text", ["-1", "five", "0", "3-", "5-3", "1.5", ",", "9" * 30 + ",", "²", "2000000000", "0-2000000000", "3-1,5"]
)
def test_refused_seeds(text) -> None:
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds((text,))


def test_settings_split_at_the_last_dot_before_the_equals_sign() -> None:
    texts = ("dcgan.lr=1e-4", "v1.2.width=3", "dcgan.note=a.b=c")
    assert parse_settings(texts, ("dcgan", "v1.2")) == {
        "dcgan": [{"lr": "1e-4", "note": "a.b=c"}],
        "v1.2": [{"width": "3"}],
    }
    for bad in ("dcgan.lr", "lr=3", ".lr=3", "dcgan.=3", "vanilla.lr=3"):
        with pytest.raises(UsageError, match="--set"):
            parse_settings((bad,), ("dcgan",))


def test_a_variant_that_is_named_twice_has_a_row_of_its_defaults_beside_the_settings() -> None:
    assert parse_settings(("dcgan.lr=1e-4",), ("dcgan", "vanilla", "dcgan")) == {"dcgan": [{}, {"lr": "1e-4"}]}
    assert parse_settings((), ("dcgan", "dcgan")) == {}


def test_a_grid_has_a_row_for_each_combination_and_one_of_the_defaults() -> None:
    texts = ("dcgan.lr=1e-4 | 2e-4", "dcgan.width=16", "dcgan.beta1=0|0.5", "vanilla.width=8")
    assert parse_settings(texts, ("dcgan", "vanilla")) == {
        "dcgan": [
            {},
            {"lr": "1e-4", "width": "16", "beta1": "0"},
            {"lr": "1e-4", "width": "16", "beta1": "0.5"},
            {"lr": "2e-4", "width": "16", "beta1": "0"},
            {"lr": "2e-4", "width": "16", "beta1": "0.5"},
        ],
        "vanilla": [{"width": "8"}],
    }


def test_a_hyperparameter_that_is_set_twice_is_refused_with_what_to_say_instead() -> None:
    with pytest.raises(UsageError, match=r"dcgan.lr is set twice; for a row each say 'dcgan.lr=VALUE\|VALUE'"):
        parse_settings(("dcgan.lr=1e-4", "dcgan.lr=2e-4"), ("dcgan",))


def ask(payloads):
    """Two datasets and two variants, one of which does not suit points."""
    answers = []
    for p in payloads:
        if p["kind"] == "dataset":
            answers.append(
                {
                    "name": p["dataset"],
                    "hash": "d" * 64,
                    "primary": "fid",
                    "budget_images": 640,
                    "extractor": "x",
                    "extractor_hash": "e" * 64,
                    "samples": 100,
                    "metrics": {},
                    "distributions": ["ganbench"],
                    "notes": [],
                    "family": None,
                    "devices": ["cuda:0", "cuda:1"],
                }
            )
        else:
            unsuitable = {"ring8": "needs images"} if p["variant"] == "dcgan" else {}
            answers.append(
                {
                    "name": p["variant"],
                    "distribution": "ganbench",
                    "source": "s" * 64,
                    "hyperparameters": {},
                    "label": p["variant"],
                    "role": "variant",
                    "broken": [],
                    "unsuitable": unsuitable,
                    "environment": {},
                    "notes": [],
                    "family": None,
                    "conditional": False,
                }
            )
    return answers


def test_unsuitable_pairs_are_left_out_and_named_and_trials_are_bound_to_no_gpu() -> None:
    made = plan(Request(plugins=("dcgan", "vanilla"), datasets=("digits", "ring8"), seeds=(0, 1), images=999), ask)
    assert made.left_out == ["dcgan on ring8: needs images"]
    assert [(t.spec.variant, t.spec.dataset, t.spec.seed) for t in made.trials] == [
        ("dcgan", "digits", 0),
        ("dcgan", "digits", 1),
        ("vanilla", "digits", 0),
        ("vanilla", "digits", 1),
        ("vanilla", "ring8", 0),
        ("vanilla", "ring8", 1),
    ]
    assert made.devices == ("cuda:0", "cuda:1") and len({t.device for t in made.trials}) == 1
    assert {t.spec.protocol.device for t in made.trials} == {"cuda"}
    assert {t.spec.protocol.budget_images for t in made.trials} == {999}
