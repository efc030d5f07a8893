"""Tables that scripts in benchmarks/ make of trials: what is kept of searches, and what the end of a budget changes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from search import choose, finalists, merged_finalists, prove, tables, times_worse
from variants import last_quarter


def write_search(folder: Path, name: str, scores: dict[str, tuple[float, float]]) -> None:
    """A search of a variant: labels, and their scores on digits and on ring8."""
    place = folder / name
    (place / "final").mkdir(parents=True)
    rows = [
        {"variant": name, "dataset": dataset, "configuration": i, "label": label, "score": score}
        for i, (label, both) in enumerate(scores.items())
        for dataset, score in zip(("digits", "ring8"), both, strict=True)
    ]
    pd.DataFrame(rows).to_csv(place / "tuning.csv", index=False)
    curve = [
        {"variant": name, "dataset": d, "budget": k, "expected_best": 1.0} for d in ("digits", "ring8") for k in (1, 20)
    ]
    pd.DataFrame(curve).to_csv(place / "tuning_curve.csv", index=False)
    fresh = {"dataset": "digits", "variant": name, "seed": 0, "status": "completed", "verdict": "stable", "fid": 1.0}
    pd.DataFrame([{**fresh, "recovered_mass": None, "modes": None}]).to_csv(place / "final/trials.csv", index=False)


def scored(dataset: str, scores: dict[int, float]) -> pd.DataFrame:
    return pd.DataFrame({"dataset": dataset, "configuration": list(scores), "score": list(scores.values())})


DIGITS = scored("digits", {0: 9.0, 1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0, 5: 5.0, 6: 6.0})  # FID, lower is better
RING8 = scored("ring8", {0: 0.1, 1: 0.9, 2: 0.8, 3: 0.7, 4: 0.6, 5: 0.95, 6: 0.2})  # mass, higher is better
NONE = scored("mnist", {})


def test_finalists_are_the_defaults_and_the_best_four_over_both_datasets() -> None:
    assert finalists(pd.concat([DIGITS, RING8])) == [0, 1, 2, 5, 3]
    assert finalists(DIGITS) == [0, 1, 2, 3, 4]
    assert finalists(DIGITS[:1]) == [0]


def test_the_chosen_one_of_the_finalists_is_nearest_to_the_best_over_all_three() -> None:
    found = pd.concat([DIGITS, RING8])
    assert choose(found, NONE) == 1, "by the search alone"
    digits, ring8 = scored("digits", {0: 2.0, 1: 1.0, 2: 1.2}), scored("ring8", {0: 0.3, 1: 0.9, 2: 0.6})
    final = pd.concat([digits, ring8, scored("mnist", {0: 5.0, 1: 50.0, 2: 10.0})])
    assert times_worse(final).tolist() == pytest.approx([6.0 ** (1 / 3), 10.0 ** (1 / 3), 3.6 ** (1 / 3)])
    assert choose(found, final) == 2
    failed = pd.concat([digits, ring8, scored("mnist", {0: 50.0, 1: 5.0, 2: float("inf")})])
    assert times_worse(failed)[2] == pytest.approx(18.0 ** (1 / 3)), "a failure counts as ten times worse"
    assert choose(found, failed) == 1


def test_the_defaults_win_a_tie() -> None:
    one = scored("digits", {0: 1.0, 1: 2.0})
    assert choose(one, pd.concat([one, scored("mnist", {0: 2.0, 1: 1.0})])) == 0
    assert choose(pd.concat([scored("digits", {0: 2.0, 1: 1.0}), scored("ring8", {0: 0.3, 1: 0.1})]), NONE) == 0


def test_finalists_that_are_not_trained_again_stay(tmp_path: Path) -> None:
    kept = tmp_path / "finalists.csv"
    old = [scored("mnist", {0: 1.0, 7: 3.0}).assign(variant=name) for name in ("r1", "vae")]
    pd.concat(old).to_csv(kept, index=False)
    for dataset, line in (("mnist", "fid\n2.0"), ("digits", 'fid\n""'), ("ring8", 'recovered_mass\n""')):
        folder = tmp_path / "r1" / "finalists" / "7" / dataset
        folder.mkdir(parents=True)
        (folder / "trials.csv").write_text(line + "\n")
    merged = merged_finalists(tmp_path, kept)
    assert merged[["variant", "dataset", "configuration", "score"]].to_numpy().tolist() == [
        ["r1", "digits", 7, float("inf")],  # a training that failed
        ["r1", "mnist", 0, 1.0],
        ["r1", "mnist", 7, 2.0],
        ["r1", "ring8", 7, 0.0],
        ["vae", "mnist", 0, 1.0],
        ["vae", "mnist", 7, 3.0],
    ]


def test_tables_keep_the_variants_that_were_searched_elsewhere(tmp_path: Path) -> None:
    write_search(tmp_path / "here", "r1", {"r1": (2.0, 0.2), "r1[lr=1]": (1.0, 0.3)})
    write_search(tmp_path / "there", "wgan", {"wgan": (2.0, 0.3), "wgan[lr=1]": (1.0, 0.1)})
    tables(tmp_path / "here", tmp_path / "out")
    tables(tmp_path / "there", tmp_path / "out")
    kept = pd.read_csv(tmp_path / "out/configurations.csv")
    assert sorted(set(kept.variant)) == ["r1", "wgan"] and len(kept) == 8
    assert kept[kept.chosen == "yes"].label.unique().tolist() == ["r1[lr=1]", "wgan"]
    tables(tmp_path / "here", tmp_path / "out")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out/configurations.csv"), kept)
    assert "- `r1`: `r1[lr=1]`\n- `wgan`: its defaults" in (tmp_path / "out/README.md").read_text()


def test_what_was_chosen_is_trained_on_fresh_seeds_and_stands_beside_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_search(tmp_path, "r1", {"r1": (2.0, 0.2), "r1[lr=1]": (1.0, 0.3), "r1[lr=2]": (0.9, 0.1)})
    found = pd.read_csv(tmp_path / "r1/tuning.csv").assign(hyperparameters='{"lr": 1.0}')
    found.to_csv(tmp_path / "r1/tuning.csv", index=False)
    called: list[list[str]] = []
    monkeypatch.setattr("search.subprocess.run", lambda command, check: called.append(command))
    prove("r1", tmp_path)
    [command] = called
    assert "run -p r1 -d digits,ring8 --seeds 3 --set r1.lr=1.0 --results" in " ".join(command)
    assert command[-1] == str(tmp_path / "r1" / "final")

    final = pd.read_csv(tmp_path / "r1/final/trials.csv")
    new = [final.assign(variant=label, fid=fid) for label, fid in (("r1[lr=1]", 0.5), ("r1[lr=2]", 0.7))]
    pd.concat([final, *new]).to_csv(tmp_path / "r1/final/trials.csv", index=False)
    tables(tmp_path, tmp_path / "out")
    assert "| r1 | digits | 1 | 0.700 | 0.500 |" in (tmp_path / "out/README.md").read_text()
    # From the tables alone, where nothing was trained: the same again.
    text = (tmp_path / "out/README.md").read_text()
    (tmp_path / "empty").mkdir()
    tables(tmp_path / "empty", tmp_path / "out")
    assert (tmp_path / "out/README.md").read_text() == text


def test_the_change_over_the_last_quarter_is_between_samples_of_one_size(tmp_path: Path) -> None:
    """The end is scored with more samples than the evaluations before it; what is compared is as many of them."""
    curve = {0: 9.0, 50: 4.0, 77: 2.0, 100: 1.5}
    evaluations = [{"images_seen": at, "values": {"fid": fid}, "watch": {}} for at, fid in curve.items()]
    evaluations[-1] = {"images_seen": 100, "values": {"fid": 1.0}, "watch": {"fid": 1.5}}
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0/record.json").write_text(json.dumps({"evaluations": evaluations}))
    assert last_quarter(tmp_path, "fid") == pytest.approx(-0.25)
    assert last_quarter(tmp_path, "modes") is None
