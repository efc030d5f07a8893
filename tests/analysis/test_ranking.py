"""Tables, leaderboard and comparison of hand-made records."""

from __future__ import annotations

import io
import math
import random
import time

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import asdict, replace

from ganbench.analysis.comparison import Incomparable, compare, comparison, undecidable, unmatched
from ganbench.analysis.findings import SEEDS_NEEDED, neighbours, ranks
from ganbench.analysis.frames import COMPARABLE, PROTOCOL_FIELDS, STABILITY, TRIAL, final_trials, to_frame
from ganbench.analysis.measures import SHOWN
from ganbench.analysis.ranking import leaderboard, trials_table
from ganbench.analysis.statistics import interval, welch
from ganbench.results.schema import (
    Evaluation,
    EvaluationIdentity,
    Identity,
    MetricColumn,
    Record,
    Reference,
    TrialIdentity,
    Watch,
)
from ganbench.utils.typed_json import convert

TRACE = 100.0
ABOUT = {
    "fid": MetricColumn(label="FID", direction="min", floor=0.5),
    "recall": MetricColumn(label="Recall", direction="max", floor=0.9),
    "authenticity": MetricColumn(label="Authenticity", direction="none"),
    "coverage": MetricColumn(label="Coverage", direction="max", floor=0.95),
    "kid": MetricColumn(label="KID", direction="min", floor=0.0),
}


def record(variant="dcgan", seed=0, status="completed", dataset="digits", primary="fid", **values):
    """A record of 20 evaluations; ``values`` are its scores, ``_`` before a name sets a field of its identity."""
    fields = {name[1:]: values.pop(name) for name in list(values) if name.startswith("_")}
    said = {name: values.pop(name) for name in ("conditional", "true_family") if name in values}
    trial = {
        "schema": 1,
        "variant": variant,
        "distribution": "ganbench",
        "source": "5" * 64,
        "hyperparameters": {"lr": 2e-4},
        "dataset": dataset,
        "dataset_hash": "d" * 64,
        "seed": seed,
        "budget_images": 64000,
        "batch_size": 64,
        "precision": "fp32",
        "engine": "serial",
        "device": "cpu",
    }
    evaluation = {
        "extractor": "digits-cnn",
        "extractor_hash": "e" * 64,
        "split": "test",
        "samples": 900,
        "evaluations": 20,
        "metrics_version": 1,
    }
    for part in (trial, evaluation):
        part.update({name: value for name, value in fields.items() if name in part})
    completed = status == "completed"
    metrics = {name: ABOUT[name] for name in values}
    watch = Watch(fid=1.0, trace=TRACE)
    history = [Evaluation(step=0, images_seen=0, values={name: 999.0 for name in values}, watch=watch)]
    for point in range(1, 21):
        seen = 3200 * point
        history.append(Evaluation(step=50 * point, images_seen=seen, values=dict(values), watch=watch))
    return Record(
        schema=1,
        identity=Identity.of(convert(trial, TrialIdentity), convert(evaluation, EvaluationIdentity)),
        label=fields.get("label", variant),
        role=fields.get("role", "variant"),
        primary=primary,
        metrics=metrics,
        reference=Reference(trace=TRACE, real=900, fake=900, train=897),
        environment={},
        environment_hash=fields.get("environment", "1" * 64),
        status=status,
        reason=None if completed else "because",
        values=dict(values) if completed else {},
        adversarial=False,
        evaluations=history if completed else history[:3],
        **said,
    )


def group(variant, scores, primary="fid", failed=0, status="crashed", **more):
    """Completed trials with these primary scores, then failed ones."""
    done = [record(variant, seed, primary=primary, **{primary: score}, **more) for seed, score in enumerate(scores)]
    seeds = range(len(scores), len(scores) + failed)
    return done + [record(variant, seed, status, primary=primary, **{primary: 0.0}, **more) for seed in seeds]


GOOD, FAIR, POOR = [1.0, 1.1, 1.2, 1.3, 1.4], [1.05, 1.5, 1.15, 1.35, 1.6], [30.0, 33.0, 36.0, 39.0, 42.0]


def row(table, variant, **where):
    found = table[table["variant"] == variant]
    for name, value in where.items():
        found = found[found[name] == value]
    assert len(found) == 1
    return found.iloc[0]


def csv(table):
    return table.to_csv(index=False)


def test_trials_table_has_its_columns_and_empty_cells():
    records = [
        record("dcgan", 1, "oom", fid=1.0, recall=0.5),
        record("dcgan", 0, fid=1.5, recall=0.5),
        record("noise", 0, _role="baseline", fid=80.0),
    ]
    table = trials_table(records)
    head = ["dataset", "extractor", "protocol", "variant", "seed", "status", "reason", "verdict", "note"]
    assert list(table.columns) == [*head, "fid", "recall", "trial", *STABILITY, *COMPARABLE]
    assert table["verdict"].tolist() == ["stable", "", ""]
    assert table["trial"].tolist() == [records[i].identity.id for i in (1, 0, 2)]
    lines = csv(table).splitlines()
    assert lines[2].split(",")[3:11] == ["dcgan", "1", "oom", "because", "", "", "", ""]
    assert lines[3].split(",")[3:11] == ["noise", "0", "completed", "", "", "", "80.0", ""]
    assert table["direction"].tolist() == ["min"] * 3 and table["failure_score"].tolist() == [TRACE] * 3
    assert ",nan" not in csv(table).lower() and "None" not in csv(table)


def test_a_trial_that_failed_before_it_knew_its_metrics_is_not_lost():
    bare = replace(record("dcgan", 1, "crashed"), metrics={}, evaluations=[], reference=Reference())
    frame = to_frame([record("dcgan", 0, fid=1.0), bare])
    assert trials_table(frame)["status"].tolist() == ["completed", "crashed"]
    board = leaderboard(frame)
    assert board.loc[0, ["seeds", "failed", "rank"]].tolist() == [2, 1, 1]
    assert trials_table([bare]).columns[8:10].tolist() == ["note", "trial"]


def test_trials_are_sorted_by_dataset_then_protocol_variant_and_seed():
    records = [
        record(variant, seed, dataset=dataset, _samples=samples, fid=1.0)
        for variant in ("wgan", "dcgan")
        for seed in (2, 0, 1)
        for samples in (100, 200)
        for dataset in ("ring8", "digits")
    ]
    places = trials_table(records)[["dataset", "protocol", "variant", "seed"]].values.tolist()
    assert places == sorted(places) and len({tuple(place) for place in places}) == 24


def test_leaderboard_by_hand():
    records = [
        *group("vanilla", POOR),
        *group("dcgan", GOOD),
        *group("wgan", FAIR),
        *group("noise", [80.0] * 5, _role="baseline"),
        *group("broken", [0.1], _role="planted"),
    ]
    board = leaderboard(records)
    head = ["dataset", "extractor", "protocol", "rank", "tier", "variant", "seeds", "failed", "verdict", "notes"]
    head += ["given", "true_family", "against_control", "p_control", "seed_sd", "sampling_sd"]
    assert list(board.columns) == [*head, "fid", "fid_low", "fid_high", "fid_floor", "fid_floor_sd", *SHOWN]
    assert board["variant"].tolist() == ["dcgan", "wgan", "vanilla", "broken", "noise"]
    assert board["rank"].tolist() == [1, 2, 3, pd.NA, pd.NA]
    assert board["tier"].tolist() == ["a", "a", "b", "", ""]
    assert board["fid"].tolist() == [1.2, 1.35, 36.0, 0.1, 80.0]
    assert row(board, "dcgan")[["fid_low", "fid_high", "fid_floor"]].tolist() == [1.0, 1.4, 0.5]
    assert row(board, "dcgan")["verdict"] == "5 stable"
    assert row(board, "noise")["verdict"] == ""
    assert csv(board).splitlines()[-1].split(",")[3:6] == ["", "", "noise"]


def test_every_variant_is_tested_against_the_control():
    better, worse = [0.4, 0.42, 0.44, 0.46, 0.48], POOR
    records = [
        *group("control", GOOD),
        *group("r1", better),
        *group("wgan", worse),
        *group("same", FAIR),
        *group("few", GOOD[:3]),
        *group("cgan", better, conditional=True),
        *group("noise", [80.0] * 5, _role="baseline"),
    ]
    board = leaderboard(records).set_index("variant")
    said = board["against_control"].to_dict()
    assert said == {"r1": "better", "wgan": "worse", "same": "no evidence", "few": "?"} | dict.fromkeys(
        ["control", "cgan", "noise"], ""
    )
    alone = leaderboard([*group("control", GOOD), *group("same", FAIR)]).set_index("variant")
    pair = neighbours([*group("control", GOOD), *group("same", FAIR)])["p"][0]
    assert alone.loc["same", "p_control"] == pytest.approx(pair)  # one comparison
    assert board.loc["same", "p_control"] == pytest.approx(pair)  # Holm: the largest of three p is as it is
    assert leaderboard([*group("r1", better), *group("wgan", worse)])["p_control"].isna().all()


def test_what_is_given_labels_is_ranked_apart_and_the_true_family_is_marked():
    records = [
        *group("dcgan", GOOD),
        *group("gmm", [0.1, 0.2, 0.3, 0.4, 0.5], true_family=True),
        *group("cgan", [0.01, 0.02, 0.03, 0.04, 0.05], conditional=True),
        *group("acgan", POOR, conditional=True),
        *group("planted", POOR, _role="planted", conditional=True),
        *group("noise", [80.0] * 5, _role="baseline"),
    ]
    board = leaderboard(records)
    assert board["variant"].tolist() == ["gmm", "dcgan", "cgan", "acgan", "noise", "planted"]
    assert board["rank"].tolist() == [1, 2, 1, 2, pd.NA, pd.NA]
    assert board["given"].tolist() == ["", "", "labels", "labels", "", ""]
    assert board["true_family"].tolist() == ["yes", "", "", "", "", ""]
    assert neighbours(records)[["variant", "next"]].values.tolist() == [["gmm", "dcgan"], ["cgan", "acgan"]]
    assert {"given", "true_family"} <= set(trials_table(records).columns)


@pytest.mark.parametrize(
    ("primary", "constant"), [("recovered_mass", 0.0), ("mode_kl", math.log(1000)), ("modes", 0.0)]
)
def test_a_failed_trial_counts_as_a_constant_in_the_metrics_of_modes(primary, constant):
    ABOUT[primary] = MetricColumn(label=primary, direction="min" if primary == "mode_kl" else "max")
    (one,) = group("a", [], primary, failed=1)
    frame = to_frame([replace(one, reference=Reference(modes=1000))])
    assert frame["failure_score"].to_numpy() == pytest.approx(constant)


def test_a_failed_trial_counts_for_the_rank_and_not_for_the_median():
    records = [*group("lucky", [0.9, 1.0], failed=3), *group("steady", POOR), *group("dead", [], failed=5)]
    board = leaderboard(records)
    assert board["variant"].tolist() == ["steady", "dead", "lucky"]
    assert board["rank"].tolist() == [1, 2, 2]
    assert row(board, "lucky")[["seeds", "failed", "fid", "fid_low", "fid_high"]].tolist() == [5, 3, 0.95, 0.9, 1.0]
    assert row(board, "lucky")["verdict"] == "3 crashed, 2 stable"
    assert row(board, "dead")[["seeds", "failed"]].tolist() == [5, 5]
    assert row(board, "dead")[["fid", "fid_low", "fid_high"]].isna().all()
    assert row(board, "dead")["fid_floor"] == 0.5
    places = ranks(records).set_index("variant")
    assert places.loc["lucky"].tolist()[2:] == [2, 1]
    assert places.loc["steady"].tolist()[2:] == [1, 2]
    assert pd.isna(places.loc["dead", "rank_completed"])


@pytest.mark.parametrize(
    ("primary", "good", "bad", "places"),
    [
        ("coverage", [0.9] * 5, [0.1] * 4, [1, 2, 3]),  # a failure covers nothing
        ("recall", [0.9] * 5, [0.1] * 4, [1, 2, 2]),  # worst observed: .1
        ("kid", [-0.01, 0.1, 0.1, 0.2, 0.2], [3.0] * 4, [1, 2, 2]),  # worst observed: 3
    ],
)
def test_failures_under_other_primary_metrics(primary, good, bad, places):
    records = [
        *group("good", good, primary),
        *group("bad", bad, primary, failed=1),
        *group("dead", [], primary, failed=5),
    ]
    board = leaderboard(records)
    assert board["variant"].tolist() == ["good", "bad", "dead"]
    assert board["rank"].tolist() == places


def test_medians_intervals_and_floors_of_every_metric_over_completed_trials():
    scores = [3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0]
    records = [record("dcgan", s, fid=x, recall=x / 10) for s, x in enumerate(scores)]
    records.append(record("dcgan", 7, "timeout", fid=0.0, recall=0.0))
    found = row(leaderboard(records), "dcgan")
    low, high, _ = interval(scores)
    assert found[["fid", "fid_low", "fid_high"]].tolist() == [3.0, low, high]
    assert found[["recall", "recall_low", "recall_high"]].tolist() == pytest.approx([0.3, low / 10, high / 10])
    assert found["recall_floor"] == 0.9


def test_medians_of_stability_are_over_completed_trials_too():
    records = [record("dcgan", seed, fid=1.0) for seed in range(3)]
    for seed in (3, 4, 5, 6):
        completed = record("dcgan", seed, fid=1.0)
        evaluations = [replace(each, watch=Watch(fid=81.0, trace=TRACE)) for each in completed.evaluations]
        records.append(replace(completed, status="diverged", values={}, evaluations=evaluations))
    found = row(leaderboard(records), "dcgan")
    assert found[["u_end", "failed"]].tolist() == [pytest.approx(0.1), 4]


def test_verdicts_of_equal_number_stand_in_the_order_of_the_words():
    statuses = ["oom", "timeout", "crashed", "error", "completed"]
    board = leaderboard([record("dcgan", seed, status, fid=1.0) for seed, status in enumerate(statuses)])
    assert row(board, "dcgan")["verdict"] == "1 stable, 1 error, 1 crashed, 1 timeout, 1 oom"


def test_tiers_are_letters_from_five_seeds_on():
    spread = np.exp(0.3 * np.array([-1.2, -0.6, 0.0, 0.6, 1.2]))
    ladder = [record(f"v{i}", s, fid=1.5**i * x) for i in range(4) for s, x in enumerate(spread)]
    board = leaderboard(ladder)
    assert board["tier"].tolist() == ["a", "ab", "bc", "c"]
    few = leaderboard([r for r in ladder if r.label != "v3" or r.identity.trial.seed < 4])
    assert few["tier"].tolist()[3] == "?"
    assert "?" not in "".join(few["tier"].tolist()[:3])


def test_tests_are_on_logarithms_so_a_factor_counts_alike_everywhere():
    records = [*group("a", GOOD), *group("b", FAIR), *group("c", POOR)]
    scaled = [
        replace(one, values={"fid": one.values["fid"] * 1e-3}, reference=Reference(trace=TRACE * 1e-3))
        for one in records
    ]
    columns = ["rank", "tier", "variant"]
    pd.testing.assert_frame_equal(leaderboard(records)[columns], leaderboard(scaled)[columns])
    zero = leaderboard([*group("perfect", [0.0] * 5), *group("other", POOR)])
    assert zero["tier"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("primary", "scores", "scale"),
    [
        ("fid", [0.0, 0.5, 1.0, 2.0, 4.0], lambda x: np.log(x + 1e-6 * TRACE)),
        ("kid", [0.0, 0.5, 1.0, 2.0, 4.0], lambda x: np.log(x + 1e-6 * 4.0)),  # no constant's score: the largest
        ("kid", [-0.1, 0.5, 1.0, 2.0, 4.0], lambda x: x),  # a negative one has no logarithm
        ("coverage", [0.0, 0.1, 0.2, 0.4, 0.8], lambda x: x),
    ],
)
def test_the_scale_of_the_tests_by_hand(primary, scores, scale):
    other = [0.3, 0.31, 0.35, 0.36, 0.9]
    found = neighbours([*group("a", scores, primary), *group("b", other, primary)])
    assert found["p"].tolist() == pytest.approx([welch(scale(np.array(scores)), scale(np.array(other)))])


def test_each_dataset_and_protocol_is_ranked_apart():
    records = [
        *group("a", GOOD),
        *group("b", POOR),
        *group("b", GOOD, _samples=100),
        *group("b", [0.9] * 5, "coverage", dataset="ring8"),
        *group("a", [0.5] * 5, "coverage", dataset="ring8"),
    ]
    board = leaderboard(records)
    assert len(board) == 5
    assert row(board, "b", rank=2)["fid"] == 36.0
    assert board[board["dataset"] == "ring8"]["variant"].tolist() == ["b", "a"]
    ring = row(board, "a", dataset="ring8")
    assert pd.isna(ring["fid_floor"]) and ring["coverage_floor"] == 0.95


def test_a_primary_metric_that_was_not_chosen_ranks_nobody():
    records = [record("a", s, recall=0.5) for s in range(5)] + [record("b", s, "oom", recall=0.0) for s in range(5)]
    board = leaderboard(records)
    assert board["rank"].isna().all()
    assert board["tier"].tolist() == ["", ""]
    assert row(board, "a")["recall"] == 0.5


@pytest.mark.parametrize("primary", ["fid", "recall"])
@pytest.mark.parametrize("status", ["error", "crashed", "timeout", "oom", "diverged"])
def test_where_no_trial_has_a_score_nobody_has_a_rank(primary, status):
    for records in (group("a", [], primary, failed=1, status=status), group("a", [], primary, failed=5, status=status)):
        board = leaderboard([*records, *group("b", [], primary, failed=2, status="crashed")])
        assert board["rank"].isna().all() and board["tier"].tolist() == ["", ""]
        assert board["failed"].tolist() == [len(records), 2] and neighbours(records).empty and ranks(records).empty


@pytest.mark.parametrize("failed", [1, 5])
def test_a_variant_whose_trials_all_raised_has_no_rank(failed):
    broken = group("broken", [], failed=failed, status="error")
    records = [*group("dcgan", GOOD), *group("wgan", POOR), *broken]
    board = leaderboard(records)
    assert board["variant"].tolist() == ["dcgan", "wgan", "broken"]
    assert board["rank"].tolist() == [1, 2, pd.NA] and board["tier"].tolist() == ["a", "b", ""]
    assert row(board, "broken")[["seeds", "failed"]].tolist() == [failed, failed]
    assert "broken" not in set(neighbours(records)["next"])
    # Where one did not, the others count as constants.
    for status in ("completed", "diverged", "crashed", "timeout", "oom"):
        assert row(leaderboard([*records, record("broken", 9, status, fid=500.0)]), "broken")["rank"] == 3


def test_what_qualifies_the_verdicts_stands_beside_them():
    def trained(variant, seed, scores):
        one = record(variant, seed, fid=1.0)
        evaluations = [
            replace(entry, watch=Watch(fid=score, trace=TRACE))
            for entry, score in zip(one.evaluations, [TRACE, *scores], strict=False)
        ]
        return replace(one, evaluations=evaluations)

    poor, good = [64.0] * 20, [1.0] * 20
    records = [trained("a", 0, poor), trained("a", 1, poor[:10]), trained("a", 2, good), trained("b", 0, good)]
    board = leaderboard(records)
    assert row(board, "a")["verdict"] == "3 stable"
    assert row(board, "a")["notes"] == "2 undertrained, 1 coarse"
    assert row(board, "b")["notes"] == ""


def test_rows_of_one_label_are_kept_apart_and_named():
    records = [*group("dcgan", GOOD), *group("dcgan", POOR, _source="7" * 64), *group("wgan", FAIR)]
    board = leaderboard(records)
    assert board["variant"].tolist() == ["dcgan@55555555", "wgan", "dcgan@77777777"]
    assert set(trials_table(records)["variant"]) == set(board["variant"])
    defaults = [*group("dcgan", GOOD), *group("dcgan", POOR, _hyperparameters={"lr": 1.0})]
    names = leaderboard(defaults)["variant"]
    assert names.nunique() == 2 and names.str.fullmatch("dcgan@[0-9a-f]{8}").all()
    contents = [*group("dcgan", GOOD), *group("dcgan", POOR, _dataset_hash="c" * 64)]
    board = leaderboard(contents)
    assert board["dataset"].tolist() == ["digits@cccccccc", "digits@dddddddd"]
    assert board["rank"].tolist() == [1, 1]


def test_metrics_keep_the_order_of_the_records_over_datasets():
    records = [
        record("a", 0, fid=1.0, recall=0.5, authenticity=0.4),
        record("a", 0, fid=1.0, kid=0.1, recall=0.5, dataset="zoo"),
    ]
    assert final_trials(records).metrics == ["fid", "kid", "recall", "authenticity"]
    # Canonical JSON sorts keys; a position survives it.
    for one in records:
        placed = {name: replace(about, position=place) for place, (name, about) in enumerate(one.metrics.items())}
        one.metrics.clear()
        one.metrics.update(sorted(placed.items()))
    assert final_trials(records).metrics == ["fid", "kid", "recall", "authenticity"]


def mixture():
    return [
        *group("a", [*GOOD, 1.9, 0.7, 1.05], recall=0.3),
        *group("b", FAIR[:3], failed=2, status="diverged", recall=0.2),
        *group("c", POOR, failed=1, authenticity=0.9),
        *group("noise", [80.0], _role="baseline"),
        *group("a", [0.8, 0.85], "coverage", failed=1, dataset="ring8"),
    ]


def test_tables_do_not_depend_on_the_order_of_records_or_of_rows():
    records = mixture()
    expected = [csv(table(records)) for table in (leaderboard, trials_table, neighbours, ranks)]
    frame = to_frame(records)
    for seed in range(5):
        shuffled = random.Random(seed).sample(records, len(records))
        rows = frame.sample(frac=1, random_state=seed)
        for source in (shuffled, to_frame(shuffled), rows):
            found = [csv(table(source)) for table in (leaderboard, trials_table, neighbours, ranks)]
            assert found == expected
        pd.testing.assert_frame_equal(to_frame(shuffled), frame)


def test_frame_and_records_give_the_same_table():
    records = mixture()
    for table in (leaderboard, trials_table, neighbours, ranks):
        pd.testing.assert_frame_equal(table(records), table(to_frame(records)))


def test_the_frame_is_tidy():
    records = [record("a", 0, fid=1.0, recall=0.5), record("a", 1, "diverged", fid=3.0, recall=0.1)]
    frame = to_frame(records)
    columns = ["dataset", "extractor", "protocol", "variant", "seed", "status", "images_seen", "metric", "value"]
    assert list(frame.columns[:9]) == columns
    assert not frame.duplicated([*TRIAL, "images_seen", "metric", "final"]).any()
    fid = frame[(frame["metric"] == "fid") & (frame["seed"] == 0)]
    assert fid["images_seen"].tolist() == [3200 * i for i in range(21)]
    assert fid["value"].tolist() == [999.0] + [1.0] * 20
    end = frame[frame["final"]]
    assert len(end) == 4
    assert end[end["status"] == "diverged"]["value"].isna().all()
    assert set(end[end["seed"] == 1]["verdict"]) == {"diverged"}
    with pytest.raises(ValueError, match="final"):
        leaderboard(frame.drop(columns="final"))


@pytest.mark.parametrize("table", [leaderboard, trials_table, neighbours, ranks])
def test_no_records_give_an_empty_table_with_its_columns(table):
    empty = table([])
    assert len(empty) == 0 and "variant" in empty.columns
    assert csv(table(to_frame([]))) == csv(empty)


def test_the_csv_reads_back_as_it_was():
    board = leaderboard(mixture())
    again = pd.read_csv(io.StringIO(csv(board)), keep_default_na=False, na_values={"rank": [""], "fid": [""]})
    assert again["tier"].tolist() == board["tier"].tolist()
    assert again["fid"].tolist() == pytest.approx(board["fid"].tolist(), nan_ok=True)


def test_neighbours_say_what_separates_them():
    found = neighbours([*group("a", GOOD), *group("b", FAIR), *group("c", POOR)])
    assert found[["variant", "next"]].values.tolist() == [["a", "b"], ["b", "c"]]
    assert found["separated"].tolist() == [False, True]
    wins = sum(a < b for a in GOOD for b in FAIR)
    assert found["effect"].tolist() == [wins / 25, 1.0]
    assert found.loc[0, "p"] > 0.05 > found.loc[1, "p"]
    assert found[SEEDS_NEEDED].isna().all(axis=None)  # five seeds do not say
    ten = neighbours([*group("a", GOOD * 2), *group("b", FAIR * 2), *group("c", POOR * 2)])
    assert ten.loc[0, "seeds_needed_low"] < ten.loc[0, "seeds_needed"] < 100
    assert ten.loc[1, SEEDS_NEEDED].tolist() == [2, 2, 2]
    assert np.isnan(neighbours([*group("a", GOOD[:3]), *group("b", FAIR)]).loc[0, "p"])


def test_thousands_of_records_are_ranked_in_seconds():
    rng = np.random.default_rng(0)
    records = []
    for number in range(1000):
        one = record(f"v{number}", 0, fid=1.0, recall=0.5)
        for seed in range(5):
            trial = replace(one.identity.trial, seed=seed)
            identity = replace(one.identity, trial=trial, id=f"{number * 5 + seed:08x}")
            values = {"fid": float(np.exp(number / 100 + 0.3 * rng.normal())), "recall": 0.5}
            records.append(replace(one, identity=identity, values=values))
    start = time.process_time()
    board = leaderboard(records)
    found = compare(records, records)
    assert time.process_time() - start < 15  # several times what it takes, a fraction of a quadratic one
    assert len(board) == len(found) == 1000


def test_compare_says_better_worse_and_no_evidence():
    before = [*group("a", POOR), *group("b", GOOD), *group("c", GOOD), *group("gone", GOOD)]
    after = [*group("a", GOOD), *group("b", POOR), *group("c", FAIR), *group("new", GOOD)]
    found = compare(before, to_frame(after)).set_index("variant")
    assert found["conclusion"].to_dict() == {"a": "better", "b": "worse", "c": "no evidence"}
    assert found.loc["a", ["metric", "before", "after", "difference"]].tolist() == ["fid", 36.0, 1.2, 1.2 - 36.0]
    assert found["effect"].tolist() == [1.0, 0.0, sum(a > b for a in GOOD for b in FAIR) / 25]
    assert found["note"].tolist() == ["", "", ""]
    assert (found[["seeds_before", "seeds_after"]] == 5).all(axis=None)
    assert found[SEEDS_NEEDED].isna().all(axis=None)
    assert compare(group("a", GOOD * 2), group("a", FAIR * 2)).loc[0, "seeds_needed"] > 20
    assert undecidable(found.reset_index()) == []
    assert unmatched(before, after) == ["gone on digits: only before", "new on digits: only after"]
    alone = compare(before[:5], after[:5])
    # Holm over three rows, not one; a and b mirror each other, and rounding decides which of them has the smaller p.
    assert round(found.loc["a", "p"] / alone.loc[0, "p"], 6) in (2, 3)


def test_compare_with_itself_finds_nothing():
    found = compare(mixture(), mixture())
    assert set(found["conclusion"]) == {"no evidence"}
    assert (found["difference"] == 0).all()
    assert (found["effect"] == 0.5).all()
    assert "noise" not in set(found["variant"])


def test_compare_follows_the_direction_of_the_metric():
    low, high = [0.1, 0.11, 0.12, 0.13, 0.14], [0.8, 0.81, 0.82, 0.83, 0.84]
    found = compare(group("a", low, "coverage"), group("a", high, "coverage"))
    assert found[["conclusion", "effect"]].values.tolist() == [["better", 1.0]]


def test_failures_are_a_regression_even_where_nothing_else_varies():
    whole = group("a", [1.0] * 5, "coverage")
    found = compare(whole, group("a", [], "coverage", failed=5)).iloc[0]
    assert (found["conclusion"], found["effect"]) == ("worse", 0.0)
    assert found["note"] == "failed 0 of 5 before, 5 of 5 after"
    assert np.isnan(found["after"])


def test_compare_needs_five_seeds_and_notes_what_differs():
    after = group("a", POOR[:4], _environment="2" * 64, _hyperparameters={"lr": 1.0})
    found = compare(group("a", GOOD), after).iloc[0]
    assert (found["conclusion"], np.isnan(found["p"])) == ("no evidence", True)
    assert found["note"] == "environment differs; hyperparameters differ; seeds 0-4 before, 0-3 after"
    assert compare(group("a", GOOD), group("a", GOOD, _environment="2" * 64)).iloc[0]["note"] == "environment differs"
    (text,) = undecidable(compare(group("a", GOOD), after))
    assert text == "a on digits: 5 seeds before, 4 after; it takes 5 a side to show anything"
    (text,) = undecidable(compare(group("a", [1.0] * 2), group("a", [1.0] * 2)))
    assert text == "a on digits: 2 seeds before, 2 after; it takes 5 a side to show anything"


def test_compare_says_in_what_environments_differ():
    def trained(*environments, digest="1"):
        """Five seeds, in these environments by turns."""
        return [
            replace(one, environment=environments[i % len(environments)], environment_hash=digest * 64)
            for i, one in enumerate(group("a", GOOD))
        ]

    old = {"threads": 1, "python": "3.11.7", "packages": {"torch": "2.14.1", "numpy": "2.4.6"}}
    new = {"threads": 1, "python": "3.12.1", "packages": {"torch": "2.15.0", "numpy": "2.4.6"}}
    (note,) = compare(trained(old), trained(new, digest="9"))["note"]
    assert note == "environment differs in python 3.11.7 before, 3.12.1 after, torch 2.14.1 before, 2.15.0 after"
    (note,) = compare(trained(old, new), trained(new, digest="9"))["note"]
    assert "torch 2.14.1 and 2.15.0 before, 2.15.0 after" in note
    many = {f"field{i}": i for i in range(9)}
    (note,) = compare(trained(many), trained(new, digest="9"))["note"]
    assert note.count("before") == 4 and note.endswith("and 9 more")


@pytest.mark.parametrize("field", ["dataset_hash", *PROTOCOL_FIELDS])
def test_compare_refuses_another_protocol_or_content_and_names_it(field):
    value = 7 if field in ("samples", "evaluations", "metrics_version", "budget_images", "batch_size") else "other"
    before, after = group("a", GOOD), group("a", GOOD, **{f"_{field}": value})
    was = (asdict(before[0].identity.trial) | asdict(before[0].identity.evaluation))[field]
    with pytest.raises(Incomparable) as refused:
        compare(before, after)
    assert f"digits: a cannot be compared, {field} differs: {was} before, {value} after" == str(refused.value)
    # With a protocol that both have, that one is compared.
    assert len(compare(before + after, after)) == 1
    protocol = before[0].identity.protocol
    assert unmatched(before + after, after) == [f"a on digits, protocol {protocol}: only before"]


def test_what_is_refused_hides_no_other_row_and_every_field_is_named():
    before = [*group("a", GOOD), *group("b", GOOD), *group("c", FAIR), *group("d", FAIR)]
    other = {"_samples": 7, "_batch_size": 9}
    after = [*group("a", POOR), *group("b", GOOD, **other), *group("c", FAIR, **other), *group("d", FAIR, _samples=8)]
    found = comparison(before, after)
    assert found.table[["variant", "conclusion"]].to_numpy().tolist() == [["a", "worse"]]
    first, second = found.refused
    assert set(first.fields) == {"samples", "batch_size"} and second.fields == ("samples",)
    assert str(first).startswith("digits: b, c cannot be compared, ")
    assert "batch_size differs: 64 before, 9 after" in str(first)
    assert str(second) == "digits: d cannot be compared, samples differs: 900 before, 8 after"
    assert unmatched(before, after) == [], "it is refused, not on one side only"
    with pytest.raises(Incomparable):
        compare(before, after)


def test_trials_of_one_seed_are_compared_with_each_other():
    def changes(before, after):
        return compare(before, after)[["seeds_shared", "largest_change"]].iloc[0].tolist()

    assert changes(group("a", GOOD), group("a", GOOD[:2])) == [2, 0.0], "repeated to the bit"
    assert changes(group("a", [1.0, 2.0]), group("a", [1.0, 2.5])) == [2, pytest.approx(0.2)]
    assert changes(group("a", [0.0, 1.0]), group("a", [0.0, -1.0])) == [2, 2.0]
    shared, change = changes(group("a", [1.0], failed=1), group("a", [], failed=2))
    assert shared == 0 and np.isnan(change)


def test_variants_in_one_of_both_are_no_reason_to_refuse():
    found = compare(group("a", GOOD), group("b", GOOD, _samples=7))
    assert len(found) == 0 and "conclusion" in found.columns
