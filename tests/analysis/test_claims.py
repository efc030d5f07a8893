"""The rule by which benchmarks/claims.py calls a paper's claim reproduced."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from claims import CLAIMS, arrives, best_of_search, better, both, cures, every, levelled, page, shown_command


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
    assert better("fid", "vae", "vae[width=8]")(frame)[1] == "not run"  # its default is not there yet


def test_losses_are_level_if_they_score_alike_and_none_wins_on_every_dataset() -> None:
    def rows(dataset: str, metric: str, **scores: list[float]) -> pd.DataFrame:
        return trials(**scores).rename(columns={"fid": metric}).assign(dataset=dataset)

    def claim(*frames: pd.DataFrame, **labels: str) -> tuple[str, str]:
        names = ("control", "dragan", "lsgan")
        best = {name: labels.get(name, name) for name in names}
        of = levelled(names, ("digits", "fid", False), ("ring8", "mass", True), best=lambda dataset: best)
        return of(pd.concat(frames))

    digits = rows("digits", "fid", control=[1.4, 1.4, 1.6], dragan=[1.0, 1.1, 1.2], lsgan=[4.0, 4.0, 4.0])
    tuned = rows("digits", "fid", lsgan=[0.99, 1.0, 1.1]).replace("lsgan", "lsgan[lr=0.01]")
    near = rows("ring8", "mass", control=[0.4, 0.4, 0.4], dragan=[0.3, 0.3, 0.3], lsgan=[0.44, 0.44, 0.44])
    near_tuned = near.replace("lsgan", "lsgan[lr=0.01]")
    seen, verdict = claim(digits, near)
    assert verdict == "in part"  # each wins on one of them, but lsgan's FID is four times that of dragan
    assert "digits: FID: dragan 1.10, control 1.40, lsgan 4, a factor of 3.64" in seen
    assert "better than control on 2 of 2: none (reproduced)" in seen
    seen, verdict = claim(digits, tuned, near, near_tuned, lsgan="lsgan[lr=0.01]")
    assert verdict == "in part" and "all within a factor of 1.50 (reproduced)" in seen
    assert seen.endswith("better than control on 2 of 2: lsgan (not seen)")
    level = rows("digits", "fid", control=[1.4, 1.4, 1.6], dragan=[1.2, 1.2, 1.2], lsgan=[1.5, 1.5, 1.5])
    assert claim(level, near)[1] == "reproduced"
    assert claim(digits) == ("", "not run")


def test_the_best_of_a_search_has_the_lowest_fid_or_the_most_mass() -> None:
    searched = pd.read_csv(Path(__file__).parents[2] / "results" / "tuning" / "configurations.csv")
    for dataset, highest in (("digits", False), ("ring8", True)):
        of = searched[(searched["dataset"] == dataset) & (searched["variant"] == "lsgan")]
        best = of["score"].max() if highest else of["score"].min()
        assert [best_of_search(dataset)["lsgan"]] == list(of[of["score"] == best]["label"])


def test_modes_say_nothing_where_hardly_a_sample_is_in_any() -> None:
    claim = arrives("a", better("fid", "a", "b"))
    frame = trials(a=[1, 2, 3], b=[4, 5, 6])
    assert claim(frame.assign(high_quality=0.6))[1] == "reproduced"
    seen, verdict = claim(frame.assign(high_quality=[0.6, 0.4, 0.1, 0.9, 0.9, 0.9]))
    assert verdict == "not testable" and seen.endswith("high quality: a 0.400 (0.100, 0.400, 0.600)")
    assert claim(frame[:0]) == ("", "not run")


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
