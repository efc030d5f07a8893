"""The rule by which benchmarks/claims.py calls a paper's claim reproduced."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from claims import CLAIMS, better, both, cures, every, no_winner, page, shown_command


def trials(**scores: list[float]) -> pd.DataFrame:
    return pd.DataFrame([{"variant": name, "fid": score} for name, of in scores.items() for score in of])


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ([1, 2, 3], [4, 5, 6], "reproduced"),
        ([1, 2, 5.5], [4, 5, 6], "not seen"),  # seven of nine pairs
        ([1, 2, 3, 4, 5], [4.5, 6, 7, 8, 9], "reproduced"),  # 24 of 25
        ([4, 5, 6], [1, 2, 3], "the other way round"),
        ([2, 2, 2], [2, 2, 2], "not seen"),
        ([], [1], "not run"),
    ],
)
def test_nine_in_ten_pairs_decide(one: list[float], other: list[float], verdict: str) -> None:
    assert better("fid", "a", "b")(trials(a=one, b=other))[1] == verdict
    mirrored = {"reproduced": "the other way round", "the other way round": "reproduced"}.get(verdict, verdict)
    assert better("fid", "a", "b", highest=True)(trials(a=one, b=other))[1] == mirrored


def test_a_claim_of_parts_is_reproduced_if_all_are() -> None:
    frame = trials(a=[1, 2], b=[3, 4])
    yes, no = better("fid", "a", "b"), better("fid", "b", "a")
    assert both(yes, yes)(frame)[1] == "reproduced"
    assert both(yes, no)(frame)[1] == "in part"
    assert both(no, better("fid", "a", "a"))(frame)[1] == "not seen"  # neither part is, each in its own way
    assert both(yes, better("modes", "a", "b"))(frame) == ("", "not run")
    below = every("fid", "a", lambda values: values < 2.5, "below 2.5")
    assert below(frame)[1] == "reproduced"
    assert every("fid", "b", lambda values: values < 3.5, "")(frame)[1] == "not seen"


def test_a_variant_is_found_with_its_settings_and_not_another_of_the_same_name() -> None:
    frame = pd.DataFrame({"variant": ["r1", "r1[augment=ada]", "vae[width=8]"], "fid": [2.0, 1.0, 3.0]})
    assert better("fid", "r1[augment=ada]", "r1")(frame)[1] == "reproduced"
    assert better("fid", "r1", "vae")(frame)[1] == "reproduced"


def test_a_loss_wins_if_its_best_setting_is_better_on_every_dataset() -> None:
    def rows(dataset: str, metric: str, **scores: list[float]) -> pd.DataFrame:
        return trials(**scores).rename(columns={"fid": metric}).assign(dataset=dataset)

    digits = rows("digits", "fid", control=[1.4, 1.5, 1.6], dragan=[1.0, 1.1, 1.2], lsgan=[4.0, 4.0, 4.0])
    tuned = rows("digits", "fid", lsgan=[0.9, 0.9, 1.0]).replace("lsgan", "lsgan[lr=0.01]")
    ring = rows("ring8", "mass", control=[0.4, 0.4, 0.4], dragan=[0.3, 0.3, 0.3], lsgan=[0.5, 0.5, 0.6])
    claim = no_winner(("control", "dragan", "lsgan"), ("digits", "fid", False), ("ring8", "mass", True))
    assert claim(pd.concat([digits, ring]))[1] == "reproduced"  # each wins on one of them
    seen, verdict = claim(pd.concat([digits, tuned, ring]))
    assert verdict == "not seen" and seen.endswith("better than control on 2 of 2: lsgan")
    assert claim(digits) == ("", "not run")


def test_a_cure_cannot_be_tested_where_nothing_fails() -> None:
    frame = trials(ill=[1.0, 1.0], fine=[8.0, 8.0], cured=[9.0, 9.0])

    def claim(name: str) -> str:
        return cures("fid", name, lambda modes: modes >= 8, better("fid", "cured", name, highest=True))(frame)[1]

    assert (claim("ill"), claim("fine")) == ("reproduced", "not testable")
    worse = cures("fid", "fine", lambda modes: modes >= 8, better("fid", "ill", "fine", highest=True))
    assert worse(frame)[1] == "the other way round"  # that is seen all the same
    assert cures("fid", "none", lambda modes: modes >= 8, better("fid", "cured", "none"))(frame)[1] == "not run"


def test_the_page_names_each_claim_before_anything_was_run(tmp_path: Path) -> None:
    text = page(tmp_path, tmp_path)
    assert text.count("| not run |") == len(CLAIMS)
    assert all(shown_command(words) in text for claim in CLAIMS for words in claim.commands)
    assert "python benchmarks/search.py FOLDER -p control" in text


def test_the_page_reads_what_it_kept_where_nothing_is_run_again(tmp_path: Path) -> None:
    claim = next(claim for claim in CLAIMS if claim.name == "dirac")
    words = {"planted-dirac": "oscillating", "planted-dirac[gamma=1.0]": "stable"}
    rows = [{"variant": name, "dataset": "ring8", "seed": 0, "verdict": word} for name, word in words.items()]
    (tmp_path / "run" / claim.name).mkdir(parents=True)
    pd.DataFrame(rows).to_csv(tmp_path / "run" / claim.name / "trials.csv", index=False)
    first = page(tmp_path / "run", tmp_path / "kept", "A finding.")
    assert "A finding." in first
    assert first.count("| reproduced |") == 1
    assert page(tmp_path / "nowhere", tmp_path / "kept", "A finding.") == first
