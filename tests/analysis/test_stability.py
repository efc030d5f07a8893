"""The verdict on synthetic histories whose truth is known."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import theilslopes

from ganbench.analysis import stability
from ganbench.analysis.measures import SHOWN, theil_sen
from ganbench.analysis.stability import THRESHOLDS, UNSTABLE
from ganbench.results.schema import Record
from ganbench.utils.typed_json import convert

TRACE = 20.0
REAL = min(Path(__file__).parents[2].glob("results/reference/digits/dcgan/seed-0-*/record.json"))


def typed(parts):
    """A record with these parts; the others are those of a real one."""
    return convert(json.loads(json.dumps(json.loads(REAL.read_text()) | parts)), Record)


def verdict(parts, limits=THRESHOLDS):
    return stability.verdict(typed(parts), limits)


def measures(parts):
    return stability.measures(typed(parts))


def history(u, **series):
    """A completed trial with one evaluation for each of ``u``, after the untrained one; 10 true modes."""
    u = list(u)
    count = len(u)
    columns = {
        "modes": [10] * count,
        "coverage": [0.9] * count,
        "mode_kl": [0.02] * count,
        "d_auc": [0.7] * count,
        "d_auc_train": [0.75] * count,
        "d_accuracy_real": [0.6] * count,
        "d_accuracy_fake": [0.6] * count,
        "parameter_norms": [{"generator": 5.0, "discriminator": 4.0}] * count,
        **{key: list(values) for key, values in series.items()},
    }
    evaluations = [untrained()]
    for i in range(count):
        watch = {"fid": u[i] ** 2 * TRACE, "trace": TRACE, **{key: values[i] for key, values in columns.items()}}
        evaluations.append({"step": 50 * (i + 1), "images_seen": 3200 * (i + 1), "values": {}, "watch": watch})
    return {
        "role": "variant",
        "status": "completed",
        "reference": {"trace": TRACE, "modes": 10},
        "adversarial": True,
        "decision_threshold": 0.0,
        "evaluations": evaluations,
        "telemetry": {
            "gradient_norm_tenths": {"discriminator": [1.0] * 10},
            "gradient_spikes": {"discriminator": 0.0},
            "first_nonfinite": None,
        },
    }


def untrained():
    """An evaluation that would spoil every measure if it counted."""
    watch = {
        "fid": 0.0,
        "trace": TRACE,
        "modes": 1000,
        "coverage": 1.0,
        "mode_kl": 0.0,
        "parameter_norms": {"generator": 5.0, "discriminator": 4.0},
    }
    return {"step": 0, "images_seen": 0, "values": {}, "watch": watch}


def converging(count=20, end=0.1, noise=0.01):
    rng = np.random.default_rng(0)
    return end + np.exp(-np.arange(count) / (count / 8)) + noise * rng.random(count)


def after(before, then, count=20, change=13):
    return [before] * change + [then] * (count - change)


def test_a_score_that_falls_by_a_tenth_over_the_last_quarter_is_still_improving():
    """However small u is: FID 0.4 that falls by a fifth moves u by 0.02."""
    flat = np.full(20, 0.14)
    falling = np.concatenate([flat[:14], np.linspace(0.14, 0.125, 6)])
    one, other = verdict(history(falling)), verdict(history(flat))
    assert (one.word, one.notes, other.notes) == ("stable", ("still improving",), ())
    assert one.evidence["trend"] > THRESHOLDS.improving and one.evidence["late_gain"] == pytest.approx(0.18, abs=0.02)
    rising = np.where(np.arange(20) == 19, 0.12, flat)  # one good evaluation is no improvement
    assert verdict(history(rising)).notes == ()
    points = history(1 - flat, recovered_mass=np.concatenate([flat[:14], np.linspace(0.14, 0.16, 6)]))
    points["reference"] |= {"centres": [[0.0, 0.0]], "modes": 1}
    assert measures(points).late_gain == pytest.approx(0.11, abs=0.02)


@pytest.mark.parametrize("count", [20, 30])
def test_a_converged_run_is_stable_without_notes(count):
    found = verdict(history(converging(count)))
    assert (found.word, found.note) == ("stable", "")
    assert found.evidence["u_end"] == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("end", [0.1, 0.35])
@pytest.mark.parametrize("count", [20, 60])
@pytest.mark.parametrize("seed", range(20))
def test_healthy_noise_is_never_an_alarm(seed, count, end):
    rng = np.random.default_rng(seed)
    # As much as vanilla's on digits, the liveliest healthy one.
    u = converging(count, end) * (1 + 0.1 * rng.standard_normal(count))
    modes, auc = 10 - (rng.random(count) < 0.2), np.clip(0.8 + 0.1 * rng.standard_normal(count), 0, 1)
    assert verdict(history(np.abs(u), modes=modes.tolist(), d_auc=auc.tolist())).word == "stable"


def test_point_collapse_in_the_second_half():
    u = [*converging()[:13], *[1.3] * 7]
    found = verdict(history(u, modes=after(10, 1), coverage=after(0.9, 0.01), mode_kl=after(0.02, 2.3)))
    assert (found.word, found.notes) == ("collapsed", ("lost modes",))
    assert (found.step, found.images_seen) == (50 * 14, 3200 * 14)
    assert found.evidence["mode_drop"] == 0.9


def test_two_mode_collapse_seen_by_modes_alone_by_coverage_alone_and_by_kl_alone():
    u = [*converging()[:13], *[0.6] * 7]
    for series in ({"modes": after(10, 2)}, {"coverage": after(0.9, 0.2)}, {"mode_kl": after(0.02, 1.6)}):
        found = verdict(history(u, **series))
        assert (found.word, found.step) == ("collapsed", 700)


def test_a_drop_that_recovers_or_that_costs_nothing_is_no_collapse():
    dip = [10] * 8 + [1] * 4 + [10] * 8
    assert verdict(history(converging(), modes=dip)).word == "stable"
    assert verdict(history(converging(), modes=after(10, 4))).word == "stable"
    # Coverage that never reached a tenth says nothing.
    u = [*converging()[:13], *[0.25] * 7]
    assert verdict(history(u, coverage=after(0.08, 0.01))).word != "collapsed"


def test_modes_lost_from_nothing_are_a_drop_of_zero():
    assert measures(history(converging(), modes=[0] * 20)).mode_drop == 0


def test_never_covered():
    found = verdict(history([0.8] * 20, modes=[3] * 20, d_auc=[0.9] * 20))
    assert (found.word, found.notes) == ("collapsed", ("never covered",))
    assert verdict(history([0.8] * 20, modes=[4] * 20)).word == "stable"
    improving = np.linspace(1.6, 0.8, 20)
    assert verdict(history(improving, modes=[3] * 20)).word == "stable"
    oscillating = improving + 0.3 * (-1.0) ** np.arange(20)
    assert verdict(history(oscillating, modes=[3] * 20)).note == "never covered"


def dirac(regularised):
    """Radius of the alternating Dirac-GAN (linear loss, steps of 0.3); a gradient penalty makes it contract."""
    theta, psi, radii = 1.0, 0.0, []
    for step in range(400):
        psi += 0.3 * (theta - (psi if regularised else 0.0))
        theta -= 0.3 * psi
        if step % 13 == 0:
            radii.append(abs(theta))
    return radii[:30]


def test_the_dirac_gan_oscillates_and_with_a_penalty_does_not():
    nothing = {"modes": [None] * 30, "coverage": [None] * 30, "mode_kl": [None] * 30}
    cycling = verdict(history(dirac(False), **nothing))
    assert cycling.word == "oscillating"
    assert cycling.evidence["oscillation"] > 0.25
    assert verdict(history(dirac(True), **nothing)).word == "stable"


def test_small_swings_count_only_where_the_score_is_poor_or_does_not_improve():
    swing, fall = 0.12 * (-1.0) ** np.arange(20), 0.01 * np.arange(20)
    assert verdict(history(0.6 - fall + swing)).word == "stable"
    assert verdict(history(0.9 - fall + swing)).word == "oscillating"
    assert verdict(history(0.3 + swing)).word == "oscillating"
    assert verdict(history(0.3 + swing / 2)).word == "oscillating"  # a fifth of itself
    assert verdict(history(0.4 + swing / 2)).word == "oscillating"  # 15 % of itself
    assert verdict(history(0.44 + swing / 2)).word == "stable"
    assert verdict(history(0.1 + swing / 3)).word == "oscillating"  # FID 0.07 and 0.39
    assert verdict(history(0.08 + swing / 9)).word == "stable"  # near the floor healthy runs jitter
    assert verdict(history(0.6 - fall + 1.5 * swing)).word == "oscillating"
    earlier = [0.05] * 8  # it improves and is good, but was better
    assert verdict(history([*earlier, *(0.5 - fall + swing)[8:]])).word == "oscillating"


def test_degraded_by_over_training_names_its_best_evaluation():
    u = [*converging()[:10], *np.linspace(0.1, 0.4, 10)]
    found = verdict(history(u, d_auc=[0.5] * 20, d_auc_train=[0.95] * 20))
    assert found.word == "degraded"
    assert found.images_seen == pytest.approx(3200 * 11, abs=3200 * 2)
    assert found.evidence["d_auc_gap"] == pytest.approx(0.45)


def test_a_verdict_names_the_evaluation_where_it_happened():
    u = [1.0, 0.8, 0.6, 0.4, 0.2, 0.1, 0.1, 0.1, *np.linspace(0.2, 0.4, 12)]
    assert verdict(history(u)).step == 300
    beaten = verdict(history([0.8] * 20, d_auc=[0.99] * 2 + [0.7] * 8 + [0.96] * 10))
    assert (beaten.note, beaten.step) == ("generator beaten", 550)  # from there on it stays won
    spiking = history(converging(end=0.47), d_auc=[0.92] * 16 + [0.97] * 4)
    spiking["telemetry"]["gradient_spikes"]["discriminator"] = 0.01
    assert (verdict(spiking).note, verdict(spiking).step) == ("gradient spikes", 850)
    lost_again = history([*converging()[:13], *[1.3] * 7], modes=[10] * 5 + [1] * 4 + [10] * 4 + [5] * 7)
    assert (verdict(lost_again).note, verdict(lost_again).step) == ("lost modes", 700)
    assert measures(history([0.8] * 20, d_auc=[0.95] * 20)).won is None


def test_learned_nothing():
    found = verdict(history([1.2] * 20))
    assert (found.word, found.notes) == ("collapsed", ("learned nothing",))
    assert verdict(history(np.linspace(3, 1.2, 20))).note == "still improving; undertrained"


def test_dominated_by_a_perfect_discriminator():
    stuck = history([0.8] * 20, d_auc=[1.0] * 20)
    found = verdict(stuck)
    assert (found.word, found.notes) == ("dominated", ("generator beaten",))
    assert verdict({**stuck, "adversarial": False}).word == "stable"
    # An AUC of 1 is normal where the score is good or still improves; a saturated decision is not.
    assert verdict(history(converging(), d_auc=[1.0] * 20)).word == "stable"
    improving = {"d_auc": [1.0] * 20, "d_accuracy_real": [0.99] * 20, "d_accuracy_fake": [0.97] * 20}
    slowly = np.linspace(0.95, 0.7, 20)
    assert verdict(history(slowly, d_auc=[1.0] * 20)).word == "stable"
    assert verdict(history(slowly, **improving)).word == "dominated"
    # The weaker of both accuracies decides.
    assert verdict(history(slowly, **{**improving, "d_accuracy_fake": [0.2] * 20})).word == "stable"
    # dcgan on digits in 100 steps: the discriminator is sure, its gradients jump, and FID falls from 39 to 12.
    learning = history(np.linspace(1.6, 0.7, 20), **improving)
    learning["telemetry"]["gradient_spikes"]["discriminator"] = 0.04
    assert (verdict(learning).word, verdict(learning).notes) == ("stable", ("still improving", "undertrained"))


@pytest.mark.parametrize("count", [10, 15, 19])
def test_a_short_training_that_still_improves_is_not_dominated(count):
    # dcgan with a fifth of its step size, 12,800 images of digits: FID 49 falling to 17 of 25 for a constant.
    ahead = {name: [0.99] * count for name in ("d_auc", "d_accuracy_real", "d_accuracy_fake")}
    short = history(np.linspace(1.4, 0.82, count), **ahead)
    assert (verdict(short).word, verdict(short).notes) == ("stable", ("still improving", "undertrained", "coarse"))
    slow = history(np.linspace(1.25, 1.16, count), **ahead)
    assert verdict(slow).word != "dominated"
    spiking = history(np.linspace(1.4, 0.82, count), **ahead)
    spiking["telemetry"]["gradient_spikes"]["discriminator"] = 0.07
    assert verdict(spiking).word == "stable"
    # One that stands still is, however short.
    for u in ([0.8] * count, np.linspace(1.24, 1.239, count), [1.3, 1.0, *[0.8] * (count - 2)]):
        found = verdict(history(u, **ahead))
        assert (found.word, found.notes) == ("dominated", ("generator beaten", "coarse"))


def test_a_critic_has_no_decision_to_saturate():
    slowly = np.linspace(0.95, 0.7, 20)
    record = history(slowly, d_auc=[1.0] * 20, d_accuracy_real=[None] * 20, d_accuracy_fake=[None] * 20)
    assert verdict({**record, "decision_threshold": None}).word == "stable"
    accurate = history(slowly, d_auc=[1.0] * 20, d_accuracy_real=[1] * 20, d_accuracy_fake=[1] * 20)
    assert verdict({**accurate, "decision_threshold": None}).word == "stable"


def test_dominance_counts_the_last_half_only():
    assert measures(history([0.8] * 20, d_auc=[1.0] * 10 + [0.6] * 10)).d_dominance == 0
    assert measures(history([0.8] * 20, d_auc=[0.6] * 15 + [1.0] * 5)).d_dominance == 0.5


def test_gradients_that_begin_near_0_and_then_stand_did_not_blow_up():
    def growing(*tenths):
        record = history(converging())
        record["telemetry"]["gradient_norm_tenths"]["discriminator"] = list(tenths)
        return verdict(record)

    # The first is PacGAN's D, whose weights start from N(0, 0.02^2); the second a critic without a constraint.
    still = growing(0.795, 40.6, 58.8, 67.0, 70.2, 71.3, 68.4, 64.7, 61.2, 57.6)
    rising = growing(222, 2268, 6802, 4723, 10421, 14226, 23831, 35467, 23916, 39718)
    assert (still.word, still.notes) == ("stable", ())
    assert (rising.word, rising.notes) == ("diverged", ("gradients blew up",))
    assert rising.evidence["gradient_growth"] == pytest.approx(39718 / 222)
    assert [growing(1.0, *[70.0] * 8, last).word for last in (69.0, 71.0)] == ["stable", "diverged"]
    assert growing(1.0, 10.0, 500.0, *[5000.0] * 7).word == "stable"  # what comes of it is for the other rules to see


def test_gradient_spikes():
    record = history(converging(end=0.47), d_auc=[0.95] * 20)
    record["telemetry"]["gradient_spikes"] = {"generator": 0.5, "discriminator": 0.0019}
    assert verdict(record).word == "stable"
    record["telemetry"]["gradient_spikes"]["discriminator"] = 0.002
    assert (verdict(record).word, verdict(record).note) == ("dominated", "gradient spikes")
    for harmless in (history(converging(end=0.47), d_auc=[0.89] * 20), history(converging(end=0.2), d_auc=[0.95] * 20)):
        harmless["telemetry"]["gradient_spikes"]["discriminator"] = 0.3
        assert verdict(harmless).word == "stable"


def test_weights_that_blow_up():
    growing = [{"generator": 5.0 * 1.18**i, "discriminator": 4.0} for i in range(1, 21)]
    found = verdict(history(converging(), parameter_norms=growing))
    first = next(i for i in range(1, 21) if 1.18**i > 20)
    assert (found.word, found.images_seen) == ("diverged", 3200 * first)
    slow = [{"generator": 100.0, "discriminator": 79.0}] * 20  # exactly 20-fold
    assert verdict(history(converging(), parameter_norms=slow)).word == "stable"


def test_weights_that_begin_near_zero_have_not_blown_up():
    """Those of an RBM on digits: 24 times as large at the end, six times at the first evaluation."""
    record = history(converging(), parameter_norms=[{"machine": 5.1 + 0.9 * i} for i in range(20)])
    record["evaluations"][0]["watch"]["parameter_norms"] = {"machine": 0.9}
    assert measures(record).parameter_growth == pytest.approx(22.2 / 2.55)
    assert verdict(record).word == "stable"


def test_the_largest_growth_of_a_role_counts_and_one_that_began_at_zero_does_not():
    norms = [{"generator": 5.0, "discriminator": 12.0 if i == 7 else 4.0} for i in range(20)]
    record = history(converging(), parameter_norms=norms)
    assert measures(record).parameter_growth == 3.0
    record["evaluations"][0]["watch"]["parameter_norms"]["discriminator"] = 0.0
    assert measures(record).parameter_growth == 1.0


def test_gradients_that_blow_up():
    record = history(converging())
    record["telemetry"]["gradient_norm_tenths"]["discriminator"] = [1.0] * 9 + [50.0]
    assert verdict(record).word == "stable"
    record["telemetry"]["gradient_norm_tenths"]["discriminator"] = [1.0] * 9 + [50.1]
    assert verdict(record).word == "diverged"
    for steps, word in ((99, "stable"), (100, "diverged")):
        record["telemetry"]["updates"] = {"generator": 5, "discriminator": steps}
        assert verdict(record).word == word
    record["evaluations"] = record["evaluations"][:10]  # the untrained one and nine
    assert verdict(record).word == "unknown"


def test_nan_is_diverged_at_its_step_with_any_number_of_evaluations():
    record = history(converging()[:3])
    record["status"] = "diverged"
    record["telemetry"]["first_nonfinite"] = {"step": 17, "what": "loss discriminator"}
    found = verdict(record)
    assert (found.word, found.step, found.note) == ("diverged", 17, "loss discriminator is not finite")
    bare = {**record, "evaluations": [], "telemetry": None}
    assert verdict(bare).word == "diverged"


def test_slow_is_a_note_not_a_failure():
    found = verdict(history(np.linspace(0.9, 0.4, 20)))
    assert (found.word, found.notes) == ("stable", ("still improving",))
    assert verdict(history([0.6] * 20)).notes == ("undertrained",)


@pytest.mark.parametrize(
    ("count", "word", "note"), [(9, "unknown", "fewer"), (10, "stable", "coarse"), (20, "stable", "")]
)
def test_few_evaluations(count, word, note):
    found = verdict(history([0.1] * count))
    assert found.word == word
    assert found.note.startswith(note) and bool(found.note) is bool(note)


@pytest.mark.parametrize("status", ["error", "crashed", "timeout", "oom"])
def test_other_failures_and_baselines_have_no_verdict(status):
    record = history(converging())
    assert verdict({**record, "status": status, "evaluations": [], "telemetry": None}).word is None
    assert verdict({**record, "role": "baseline"}).word is None
    assert verdict({**record, "role": "planted"}).word == "stable"


def test_without_a_score_nothing_is_judged():
    record = history(converging())
    for evaluation in record["evaluations"]:
        evaluation["watch"]["fid"] = None
    assert verdict(record).word == "unknown"


def test_negative_fid_counts_as_zero():
    record = history([0.0] * 20)
    record["evaluations"][-1]["watch"]["fid"] = -1e-9
    assert measures(record).u[-1] == 0


@pytest.mark.parametrize("factor", [1e-6, 1 / 3, 1e6])
def test_scaling_the_features_changes_no_verdict(factor):
    histories = [
        history(converging()),
        history([*converging()[:13], *[1.3] * 7], modes=after(10, 1)),
        history([0.8] * 20, d_auc=[1.0] * 20),
        history(0.7 + 0.2 * (-1.0) ** np.arange(20)),
        history([1.2] * 20),
    ]
    for record in histories:
        scaled = copy.deepcopy(record)
        for evaluation in scaled["evaluations"]:
            evaluation["watch"]["fid"] *= factor**2
            evaluation["watch"]["trace"] *= factor**2
        assert verdict(scaled).word == verdict(record).word
        assert measures(scaled).u == pytest.approx(measures(record).u)


def test_measures_by_hand():
    u = [1.0, 0.5, 0.4, 0.3, 0.2, 0.1, 0.2, 0.3, 0.4, 0.6]
    found = measures(history(u))
    assert found.u_end == pytest.approx(0.6)  # the last evaluation is what is ranked
    assert found.u_best == pytest.approx(0.2)  # the single 0.1 is smoothed away
    assert found.u_rise == pytest.approx(0.4)
    slope, *_ = theilslopes(u[5:])
    residuals = np.array(u[5:]) - slope * np.arange(5)
    assert found.trend == pytest.approx(5 * slope)
    assert found.oscillation == pytest.approx(residuals.std())
    assert found.oscillation_share == pytest.approx(residuals.std() / np.mean(u[5:]))


def test_a_line_is_fitted_at_the_times_of_the_evaluations():
    times = [1, 2, 3, 4, 5, 6, 6.5, 8, 8.5, 10]
    record = history([1.0 - 0.05 * at for at in times])
    for evaluation, at in zip(record["evaluations"][1:], times, strict=True):
        evaluation["images_seen"] = round(1000 * at)
    assert measures(record).trend == pytest.approx(-0.25) and measures(record).oscillation == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("late", [1, 2, 5])
def test_what_breaks_at_the_end_is_seen_in_the_last_evaluation(late):
    u, modes = converging(), [10] * (20 - late) + [1] * late
    u[-late:] = 1.3
    found = verdict(history(u, modes=modes))
    assert (found.word, found.note, found.step) == ("collapsed", "lost modes", 50 * (21 - late))


@pytest.mark.parametrize(
    ("points", "true", "modes", "kl", "word"),
    [
        (True, 8, 4, 0.69, "collapsed"),  # four of eight were never there
        (True, 8, 8, 0.67, "stable"),  # all are, unevenly, or four, and a stray sample in each of the others
        (True, 8, 8, 0.95, "collapsed"),  # three are, and stray samples
        (True, 25, 24, 0.75, "stable"),
        (True, 25, 20, 1.0, "collapsed"),
        (False, 10, 7, 0.6, "collapsed"),  # five of ten, and what a classifier takes for others
        (False, 10, 9, 0.25, "collapsed"),
        (False, 10, 9, 0.2, "stable"),
        (False, 1000, 960, 0.5, "stable"),
        (False, 1000, 734, 0.67, "collapsed"),  # real digits of 500 modes, as a classifier counts them
    ],
)
def test_modes_that_were_never_there_are_missed_though_the_score_is_good(points, true, modes, kl, word):
    record = history([0.25] * 20, modes=[modes] * 20, mode_kl=[kl] * 20, recovered_mass=[0.75 if points else None] * 20)
    record["reference"] |= {"modes": true, "centres": [[0.0, 0.0]] * true if points else None}
    assert verdict(record).word == word
    # A score that improves hides them only where a classifier's errors can look the same.
    improving = history(1.0 - 0.03 * np.arange(20), modes=[modes] * 20, mode_kl=[kl] * 20)
    improving["reference"] |= record["reference"]
    assert verdict(improving).word == (word if kl >= 0.6 else "stable")
    coming = history([0.25] * 20, modes=[modes] * 20, mode_kl=kl * np.linspace(3, 1, 20))
    coming["reference"] |= record["reference"]
    assert verdict(coming).word == "stable"  # slow is no failure


def ring(mass, distance, mode_kl, modes):
    record = history(distance, recovered_mass=list(mass), mode_kl=list(mode_kl), modes=list(modes))
    record["reference"] |= {"modes": 8, "centres": [[0.0, 0.0]] * 8}
    return verdict(record)


@pytest.mark.parametrize("shown", [1, 2, 3, 4])
def test_a_few_modes_that_sharpen_to_the_end_are_still_a_few(shown):
    mass = shown / 8 * np.linspace(0.05, 1, 20)
    never = ring(mass, [0.25] * 20, [math.log(8 / shown)] * 20, [shown] * 20)
    assert (never.word, never.note) == ("collapsed", "missing modes")
    fewer = ring(mass, [0.25] * 20, np.linspace(0, math.log(8 / shown), 20), np.linspace(8, shown, 20).round())
    assert (fewer.word, fewer.note) == ("collapsed", "lost modes")


@pytest.mark.parametrize("count", [20, 60])
def test_a_late_fall_is_no_swing(count):
    """As where a step size drops at half of the budget."""
    t = np.linspace(0, 1, count)
    assert verdict(history(0.1 + 0.2 * np.exp(-np.maximum(t - 0.5, 0) / 0.05))).word == "stable"
    assert verdict(history(0.1 + 0.04 * (np.arange(count) % 3 == 0))).word == "oscillating"


def test_points_of_records_without_recovered_mass_are_judged_on_their_distance():
    """Which jitters more than the score of images: no swing or rise of a few hundredths counts."""
    for series in (0.1 + 0.02 * (-1.0) ** np.arange(20), [*[0.05] * 12, *[0.1] * 8]):
        record = history(series)
        assert verdict(record).word in ("oscillating", "degraded")
        record["reference"] |= {"modes": 8, "centres": [[0.0, 0.0]] * 8}
        assert verdict(record).word == "stable"


def test_points_that_come_at_the_end_do_not_swing():
    """As where the step size is constant until the last hundredths of the budget."""
    came = ring([0.02, 0.05] * 9 + [0.05, 0.44], [0.07] * 20, [0.05] * 20, [8] * 20)
    assert came.word == "stable" and came.measures.oscillation > THRESHOLDS.oscillation
    jumped = ring([0.02, 0.04] * 8 + [0.04, 0.05, 0.3, 0.6], [0.07] * 20, [0.05] * 20, [8] * 20)
    assert jumped.word == "stable" and jumped.measures.oscillation > THRESHOLDS.oscillation_alone


def test_modes_count_only_where_enough_points_are_in_one():
    blurred = ring([0.03] * 20, [0.2] * 20, [0.1] * 10 + [1.2] * 10, [8] * 20)
    assert (blurred.word, blurred.note) == ("stable", "undertrained")
    assert blurred.measures.kl_late is None and blurred.measures.kl_rise is None
    one = ring([0.12] * 20, [0.2] * 20, [math.log(8)] * 20, [1] * 20)  # of which an eighth is recovered, at best
    assert (one.word, one.note) == ("collapsed", "missing modes")
    # What was uneven before enough were in a mode says nothing; what is uneven since does.
    first = ring(np.linspace(0.0, 0.4, 20), [0.2] * 20, [0.1] * 5 + [1.0] * 15, [8] * 20)
    assert first.note == "missing modes" and first.measures.kl_rise == pytest.approx(0.0)


def test_points_that_spread_out_in_all_modes_degrade_and_those_that_sharpen_do_not():
    even = [[0.01] * 20, [8] * 20]
    wider = ring([*np.linspace(0.1, 0.95, 16), 0.9, 0.85, 0.8, 0.75], [0.02] * 20, *even)
    assert (wider.word, wider.note) == ("degraded", "best score earlier")
    sharper = ring(np.linspace(0.02, 0.6, 20), np.linspace(0.06, 0.25, 20), *even)
    assert (sharper.word, sharper.note) == ("stable", "still improving")
    gone = ring([0.0] * 20, [*np.linspace(0.9, 0.3, 5), *np.linspace(0.3, 0.48, 15)], *even)
    assert (gone.word, gone.note, gone.step) == ("degraded", "nearer earlier", 250)
    assert gone.evidence["distance_rise"] == pytest.approx(0.18, abs=0.02)


@pytest.mark.parametrize(("best", "end", "word"), [(0.5, 1.2, "degraded"), (0.5, 0.8, "stable"), (0.1, 0.2, "stable")])
def test_an_fid_far_above_its_best_is_degraded_however_good_it_is(best, end, word):
    fid = np.concatenate([np.linspace(9, best, 6), np.linspace(best, end, 14)])
    assert verdict(history(np.sqrt(fid / 70))).word == word


def test_points_are_judged_by_recovered_mass_and_their_distance():
    near = verdict(history([0.03] * 20, recovered_mass=[0.04] * 20, mode_kl=[0.8] * 20, modes=[4] * 20))
    assert (near.word, near.note) == ("stable", "undertrained")  # too few are in a mode to say in which
    assert near.measures.u_end == pytest.approx(0.96)
    lost = verdict(history([0.03] * 20, recovered_mass=[*np.linspace(0.1, 0.8, 15), *[0.5] * 5]))
    assert (lost.word, lost.note) == ("degraded", "best score earlier")
    circling = 0.6 + 0.3 * (-1.0) ** np.arange(20)  # far from every mode
    assert verdict(history(circling, recovered_mass=[0.0] * 20)).word == "oscillating"
    assert verdict(history([0.9] * 20, recovered_mass=[0.0] * 20)).note == "learned nothing"
    for share, note in [(0.009, "learned nothing"), (0.011, "undertrained")]:  # near the data, and in no mode
        assert verdict(history([0.3] * 20, recovered_mass=[share] * 20)).note == note
    for share, note in [(0.009, "gradient spikes"), (0.011, "undertrained")]:
        spiking = history([0.3] * 20, recovered_mass=[share] * 20, d_auc=[0.92] * 20)
        spiking["telemetry"]["gradient_spikes"]["discriminator"] = 0.01
        assert verdict(spiking).note == note
    falling = history(np.linspace(2.0, 0.3, 20), recovered_mass=[0.0] * 20)
    assert verdict(falling).note == "still improving; undertrained"


def test_a_single_evaluation_is_neither_the_best_nor_a_loss():
    series = {"modes": (5, 10), "coverage": (0.4, 0.9), "mode_kl": (0.5, 0.0)}
    lone = {key: [usual] * 9 + [once] + [usual] * 10 for key, (usual, once) in series.items()}
    found = measures(history(converging(), **lone))
    assert (found.mode_drop, found.coverage_drop, found.kl_rise, found.coverage_best) == (0, 0, 0, 0.4)
    rising = measures(history([0.5] * 10, modes=range(1, 11)))  # the end is above the smoothed best
    assert rising.mode_drop == 0 and rising.modes_end == 10


def test_an_evaluation_whose_real_features_do_not_vary_is_left_out():
    record = history([0.5] * 20)
    record["evaluations"][3]["watch"]["trace"] = 0.0
    assert measures(record).u == pytest.approx([0.5] * 19)


def test_theil_sen_is_scipys():
    rng = np.random.default_rng(0)
    for n in (3, 4, 10, 15):
        x, y = np.sort(rng.random(n)), rng.standard_cauchy(n)
        assert theil_sen(x.tolist(), y.tolist()) == pytest.approx(theilslopes(y, x).slope)
    assert theil_sen([1, 1, 2], [5, 7, 8]) == pytest.approx(2.0) and theil_sen([1, 1], [5, 7]) == 0


def test_missing_values_inside_a_series_are_left_out():
    modes = [None if i % 4 == 1 else 10 for i in range(13)] + [1] * 7
    found = verdict(history([*converging()[:13], *[1.3] * 7], modes=modes))
    assert (found.word, found.step) == ("collapsed", 700)
    assert not any(math.isnan(value) for value in found.evidence.values() if value is not None)


def rising(to):
    return [*converging(noise=0.0)[:13], *[to] * 7]


def late(to):
    u = converging(noise=0.0)
    return [*u[:18], *[sorted(u[:18])[1] - BEST + to] * 2]


FALLING, SWING = 0.6 - 0.01 * np.arange(20), (-1.0) ** np.arange(20)
BEST = sorted(converging(noise=0.0)[:13])[1]  # smoothed


@pytest.mark.parametrize(
    ("beyond", "within", "word"),
    [
        (history(rising(0.6), modes=after(10, 5)), history(rising(0.23), modes=after(10, 6)), "collapsed"),
        (
            history(rising(0.6), coverage=after(0.11, 0.01)),
            history(rising(0.6), coverage=after(0.09, 0.01)),
            "collapsed",
        ),
        (
            history(rising(0.6), mode_kl=after(0.0, 0.41, change=16)),
            history(rising(0.6), mode_kl=after(0.0, 0.39, change=16)),
            "collapsed",
        ),
        (history([0.4] * 20, mode_kl=[0.23] * 20), history([0.4] * 20, mode_kl=[0.21] * 20), "collapsed"),
        (
            history(rising(BEST + 0.12), modes=after(10, 1)),
            history(rising(BEST + 0.08), modes=after(10, 1)),
            "collapsed",
        ),
        (history([0.8] * 20, d_auc=[0.7] * 15 + [1] * 5), history([0.8] * 20, d_auc=[0.7] * 16 + [1] * 4), "dominated"),
        (history([0.46] * 20, d_auc=[1] * 20), history([0.44] * 20, d_auc=[1] * 20), "dominated"),
        (history(1.2 - 0.0048 * np.arange(20)), history(1.2 - 0.0052 * np.arange(20)), "collapsed"),
        (history(0.7 + 0.11 * (-1.0) ** np.arange(20)), history(0.7 + 0.09 * (-1.0) ** np.arange(20)), "oscillating"),
        (history(FALLING + 0.16 * SWING), history(FALLING + 0.14 * SWING), "oscillating"),
        (history(late(BEST + 0.135)), history(late(BEST + 0.115)), "degraded"),
        (
            history([*[0.1] * 8, *np.linspace(0.1, 0.131, 12)]),
            history([*[0.1] * 8, *np.linspace(0.1, 0.129, 12)]),
            "degraded",
        ),
        (history(0.05 + 0.016 * SWING), history(0.05 + 0.0145 * SWING), "oscillating"),
        (history(0.2 + 0.031 * SWING), history(0.2 + 0.029 * SWING), "oscillating"),
        (
            history([0.4] * 20, mode_kl=0.3 + 0.0061 * np.arange(20)[::-1]),
            history([0.4] * 20, mode_kl=0.3 + 0.0071 * np.arange(20)[::-1]),
            "collapsed",
        ),
        (history([1.01] * 20), history([0.99] * 20), "collapsed"),
    ],
)
def test_each_threshold_from_both_sides(beyond, within, word):
    assert verdict(beyond).word == word
    assert verdict(within).word != word


def test_a_score_that_falls_just_as_fast_as_the_limit_says_improves():
    record = history(1.2 - 0.005 * np.arange(20))
    limit = measures(record).trend
    assert verdict(record, replace(THRESHOLDS, improving=limit)).word == "stable"
    assert verdict(record, replace(THRESHOLDS, improving=limit - 1e-9)).word == "collapsed"


def test_a_third_of_the_modes_is_not_covered():
    record = history([0.8] * 20, modes=[3] * 20)
    assert verdict({**record, "reference": {"modes": 9}}).note == "never covered"
    assert verdict({**record, "reference": {"modes": 8}}).word == "stable"


def test_the_page_on_stability_has_every_threshold_and_measure():
    page = (Path(__file__).parents[2] / "docs/stability.md").read_text()
    rules = page.partition("## The rules")[2].partition("\n## ")[0]
    for field in fields(THRESHOLDS):
        value = getattr(THRESHOLDS, field.name)
        shown = "a third" if field.name == "modes_covered" else f" {value:g}"
        assert shown in rules, field.name
    assert all(f"`{name}`" in page for name in (*SHOWN, *UNSTABLE))
