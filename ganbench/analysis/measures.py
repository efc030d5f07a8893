"""Measures of stability from the history of one trial, which ``ganbench.analysis.stability`` judges.

Everything is judged on u, which is 0 for perfect samples and 1 for a constant at the real mean. For images it
is the distance ``sqrt(max(FID, 0) / tr Sigma_real)``, since such a constant has exactly that trace as its FID. It is
dimensionless, so scaling the features changes nothing, and unlike log FID it has no pole at the floor, where healthy
runs jitter most. For points with known modes it is 1 minus the recovered mass, which is what ranks them: the FID of raw
coordinates sees two moments, and is near 0 where hardly a sample is in a mode. Their distance is watched beside it, as
it swings where two players circle each other far from every mode.

Of T evaluations (the untrained one does not count) H is the last half, a series is smoothed by its running median of 3,
and the end is the last evaluation, which is what is ranked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations, pairwise
from math import exp, sqrt
from statistics import fmean, median
from typing import Any, NamedTuple

from msgspec import UNSET

from ganbench.results.schema import Evaluation, Record, Telemetry, Watch


@dataclass(frozen=True)
class Thresholds:
    """The constants of the rules, each with the evidence that set it.

    "Healthy" and "failures" are the runs of results/calibration (20 evaluations each; its README has the range of
    every measure and what moving each threshold does; version-1.csv has those of the rules before). "Study" are 102
    healthy runs, 42 slow and 286 failing ones on smaller networks, of 30 evaluations; FA counts healthy ones called a
    failure, missed failures called stable.
    """

    parameter_growth: float = 20.0  # healthy at most 8.6 (an RBM); D at 100 times its step size 9.3 in the study
    gradient_growth: float = 50.0  # healthy at most 16 (on mnist), a critic without a constraint 58 and more
    # Of mode_kl over H: ln 2 = 0.69 where half of the modes are missing, but as much where all are reached unevenly, so
    # that modes must be missing too, or far more of it. A classifier of a few classes takes some samples for those that
    # are missing: five of ten digits missing has 0.24 to 0.32, as GANs on their way on 28x28 images have, but does not
    # fall, and nor does FID.
    kl_half: float = 0.6
    kl_most: float = 0.9
    modes_half: float = 0.75  # share of the true modes
    kl_classes: float = 0.22
    many_classes: int = 50
    # Its trend as a share of itself: a training that still gains modes. With 4 of 8 modes of ring8 never shown and few
    # samples in the others at most 0.26 in size; with five of ten digits never shown it rises.
    kl_falling: float = -0.5
    kl_falling_classes: float = -0.2
    # Points: below such a recovered mass hardly a sample is in a mode, and which ones says nothing; unless they are all
    # in a few, of which exp(-mode_kl) of the mass is recovered, so that mass times exp(mode_kl) is 1.
    mass_counted: float = 0.1
    share_counted: float = 0.5
    mass_nothing: float = 0.01  # points: noise has 0.002 on ring8 and 0.018 on grid25
    mode_drop: float = 0.5  # also coverage; 0.3 to 0.7 change no verdict
    coverage_seen: float = 0.1  # below it a halved coverage is noise
    kl_rise: float = 0.4  # 0.25 to 0.6 changed no verdict of the study
    u_rise: float = 0.1  # healthy at most 0.074: a drop counts only if the score got worse
    auc: float = 0.95  # above it the discriminator has won an evaluation
    d_dominance: float = 0.5  # alone it accuses healthy runs (up to all of H)
    # Healthy critics have dominance 1, and a healthy D with batch normalisation spikes in 4 to 11 % of its steps
    # (dcgan): rule 3 needs a poor score too. Healthy at most 0.41, failures that only rule 3 sees 0.9 and more.
    u_dominated: float = 0.45
    improving: float = -0.05  # trend; flags 3 of 42 slow runs of the study, -0.10 flags 11
    # A tenth of FID, or of the recovered mass, over the last quarter is still improving, too, where u falls over H by
    # a twentieth of itself as well. Of flat FIDs that jitter by 8 % from one evaluation to the next 4 % have both, of
    # those that jitter by 15 %, 11 % (8 and 24 % have the first alone; simulated, 20 evaluations).
    late_gain: float = 0.1
    late_trend: float = -0.05
    # Trend, below 20 evaluations, for a dominated generator. Of 12,800 images on digits and 10 evaluations: planted
    # dominance at most 0.005 in size, dcgan at a tenth of its step size -0.04 to -0.09 (FID 39 falling to 31 to 34).
    standstill: float = -0.02
    # The same from 20 evaluations on. In 100 steps on digits dcgan has -0.49 to -0.65 (FID 39 falling to 5 to 13), and
    # no dominated run of results/calibration is below -0.01.
    learning: float = -0.2
    d_saturation: float = 0.8  # 0.7 to 0.9 changed no verdict of the study
    grad_spikes: float = 0.002  # healthy runs without batch normalisation: 0 on small data, at most 0.015 on mnist
    auc_spikes: float = 0.9  # spikes only mean dominance where the discriminator is ahead
    modes_covered: float = 1 / 3  # share of the true modes
    u_poor: float = 0.5  # undertrained above it, or never covered
    oscillation: float = 0.1
    oscillation_small: float = 0.05  # points: enough where it is a fifth of u
    oscillation_share: float = 0.2  # of the mean of u over H
    oscillation_small_images: float = 0.015
    oscillation_share_images: float = 0.15  # healthy ones that no longer improve: at most 0.149
    # Steps up over H, which a swing has as well as steps down, and a late fall or a single jump has not. A sine of one
    # period has 2.8, pure noise about 10.
    oscillation_rises: float = 2.0  # times the oscillation
    oscillation_alone: float = 0.15  # enough by itself, in a run that improves, too
    degraded_small: float = 0.03  # enough for images where u_end is 1.3 times u_best: FID 1.7 times its best
    degraded_ratio: float = 1.3
    degraded_swings: float = 3.0  # and u_rise is so many times the oscillation, which moves the last value, too
    degraded: float = 0.125  # healthy at most 0.074; study: .10: FA 6, missed 6; .15: 1 and 7; .20: 1 and 9
    u_nothing: float = 1.0  # a constant at the real mean does as well
    fewest: int = 10  # below it no word: at 10, the study's FA is 2 and 28 are missed
    coarse: int = 20  # below it the verdict is coarse: at 20, FA 1 and 9 are missed


THRESHOLDS = Thresholds()


Series = Sequence[float | None]
FEWEST_STEPS = 100  # of the discriminator, below which its gradients are not compared
# The measures that tables show, in this order.
SHOWN = (
    "u_end",
    "u_best",
    "u_rise",
    "oscillation",
    "oscillation_share",
    "trend",
    "late_gain",
    "distance_end",
    "distance_rise",
    "modes_end",
    "kl_late",
    "kl_end",
    "kl_trend",
    "mode_drop",
    "coverage_drop",
    "kl_rise",
    "d_auc_late",
    "d_auc_gap",
    "d_dominance",
    "d_saturation",
    "grad_spikes",
    "parameter_growth",
    "gradient_growth",
)


@dataclass(frozen=True)
class Measures:
    """The measures of one history; None where there is none (no modes, no discriminator, too few evaluations).

    Attributes:
        u: of each evaluation with a score.
        u_end, u_best, u_rise: u at the end, minimum of smoothed u, and their difference.
        oscillation: standard deviation of the residuals of u about its Theil-Sen line over H; ``oscillation_share``
            that of the mean of u over H. Of points both of their distance where that swings more.
        rises: sum of the steps up of that series over H.
        trend: slope of that line times the length of H; negative while u improves. Of points the lower of both scales.
        late_gain: share of itself by which the smoothed score (FID, or the recovered mass of points) improves over the
            last quarter of the budget; 0 where it was 0.
        distance_end, distance_best, distance_rise: as those of u, of the distance; of images this is u.
        points: whether the modes have known centres.
        modes_end: modes at the end; ``modes`` is how many there are in truth.
        kl_late, kl_trend: median of mode_kl over H, and the slope of its Theil-Sen line times the length of H. Of
            points mode_kl counts only where they say something of modes (``_counted``).
        coarse_modes: whether modes are classes that a classifier tells apart, few enough to count.
        mass_end: recovered mass at the end; None for images.
        mode_drop, coverage_drop: 1 - the end / maximum of the smoothed series, in [0, 1]; coverage of images only.
        coverage_best: that maximum of coverage.
        kl_end, kl_rise: mode_kl at the end, and that - minimum of smoothed mode_kl, in nats.
        d_dominance: share of H with held-out AUC above 0.95.
        d_auc_late, d_auc_gap: medians over H of the held-out AUC, and of training minus held-out AUC.
        d_saturation: median over H of the lower accuracy on held-out real and on fake; None for critics.
        grad_spikes: share of discriminator steps with a gradient norm above 10 times its running median of 101.
        parameter_growth: largest parameter norm of a role over its initial one (or half of the next, if larger).
        gradient_growth: discriminator gradient norm, median of the last tenth over that of the first tenth, or over a
            fiftieth of that of the fifth tenth if this is larger: above 50 it is higher than half-way, too.
        best, nearest: index of the evaluation with the lowest smoothed u, and distance, among those in ``u``.
        collapse: index of the first evaluation from which modes stay lost; where they do not, coverage; then mode_kl.
        won: index of the first evaluation from which the held-out AUC stays above 0.95.
    """

    u: tuple[float, ...] = ()
    u_end: float | None = None
    u_best: float | None = None
    u_rise: float | None = None
    oscillation: float | None = None
    oscillation_share: float | None = None
    rises: float | None = None
    trend: float | None = None
    late_gain: float | None = None
    points: bool = False
    modes: int | None = None
    modes_end: float | None = None
    distance_end: float | None = None
    distance_best: float | None = None
    distance_rise: float | None = None
    mass_end: float | None = None
    kl_late: float | None = None
    kl_trend: float | None = None
    coarse_modes: bool = False
    mode_drop: float | None = None
    coverage_drop: float | None = None
    coverage_best: float | None = None
    kl_end: float | None = None
    kl_rise: float | None = None
    d_dominance: float | None = None
    d_auc_late: float | None = None
    d_auc_gap: float | None = None
    d_saturation: float | None = None
    grad_spikes: float | None = None
    parameter_growth: float | None = None
    gradient_growth: float | None = None
    best: int | None = None
    nearest: int | None = None
    collapse: int | None = None
    won: int | None = None


def measures(record: Record, limits: Thresholds = THRESHOLDS) -> Measures:
    """Measure the history of ``record``: its ``evaluations``, ``telemetry`` and ``reference``."""
    telemetry = record.telemetry or Telemetry()
    growth = parameter_growth(record.evaluations)
    found: dict[str, Any] = {
        "points": record.reference.centres is not None,
        "modes": record.reference.modes,
        "grad_spikes": (telemetry.gradient_spikes or {}).get("discriminator"),
        "parameter_growth": max(growth, default=None),
        "gradient_growth": _gradient_growth(telemetry),
    }
    evaluated = trained(record)
    watched = [watch for _, watch in evaluated]
    distance = [sqrt(max(watch.fid or 0.0, 0.0) / (watch.trace or 1.0)) for watch in watched]
    mass = _known(_series(watched, "recovered_mass"))
    weighed = bool(mass) and len(mass) == len(watched)
    u = tuple(1 - value for value in mass) if weighed else tuple(distance)
    if len(u) < 3:
        return Measures(u=u, **found)
    half = max(len(u) // 2, 3)
    seen = [evaluation.images_seen for evaluation, _ in evaluated]
    times = [images * len(u) / seen[-1] for images in seen]  # the unit is the mean distance of two evaluations
    found |= _distance_measures(times, u, distance, half, limits)
    score = [-value for value in mass] if weighed else [max(watch.fid or 0.0, 0.0) for watch in watched]
    found["late_gain"] = _late_gain(times, score)
    found |= _mode_measures(times, watched, mass if weighed else None, distance, half, limits)
    found |= _discriminator_measures(watched, half, limits)
    classes = record.reference.modes
    found["coarse_modes"] = classes is not None and classes <= limits.many_classes and record.reference.centres is None
    if record.decision_threshold is None:  # its logits cannot be said to be right or wrong
        found["d_saturation"] = None
    return Measures(u=u, **found)


def _distance_measures(
    times: list[float], u: tuple[float, ...], distance: list[float], half: int, limits: Thresholds
) -> dict[str, Any]:
    """How far samples are from the data at the end, at their best, and how much that moves in the second half."""
    swings = [_swing(times[-half:], series[-half:]) for series in (u, distance)]
    worst = max(swings, key=lambda s: min(s.size / limits.oscillation_small, s.share / limits.oscillation_share))
    smooth, near = _smooth(u), _smooth(distance)
    return {
        "u_end": u[-1],
        "u_best": min(smooth),
        "u_rise": u[-1] - min(smooth),
        "oscillation": worst.size,
        "oscillation_share": worst.share,
        "rises": worst.rises,
        "trend": min(swing.slope for swing in swings) * half,
        "best": smooth.index(min(smooth)),
        "distance_end": distance[-1],
        "distance_best": min(near),
        "distance_rise": distance[-1] - min(near),
        "nearest": near.index(min(near)),
    }


def _mode_measures(
    times: list[float],
    watched: list[Watch],
    mass: list[float] | None,
    distance: list[float],
    half: int,
    limits: Thresholds,
) -> dict[str, Any]:
    """Which modes are there at the end, and when some were lost; ``mass`` is that recovered of points, else None."""
    modes, coverage, kl = (_series(watched, key) for key in ("modes", "coverage", "mode_kl"))
    if mass is not None:
        # Coverage of points is lost where samples become less sharp, though no mode is.
        coverage = [None] * len(coverage)
        told = [_counted(*each, limits) for each in zip(mass, distance, kl, strict=True)]
        kl = [nats if counts else None for nats, counts in zip(kl, told, strict=True)]
    found: dict[str, Any] = {
        "modes_end": next(iter(_known(modes)[-1:]), None),
        "mode_drop": _drop(modes),
        "coverage_drop": _drop(coverage),
        "coverage_best": max(_smooth(_known(coverage)), default=None),
        "kl_late": median(late) if (late := _known(kl[-half:])) else None,
        "kl_trend": _trend(times, kl, half),
        "kl_end": kl[-1],
        "mass_end": None if mass is None else mass[-1],
    }
    known = _known(kl)
    if len(known) >= 3 and kl[-1] is not None:
        found["kl_rise"] = kl[-1] - min(_smooth(known))
    lost = [
        _lost(modes, max, lambda now, best: best > 0 and now <= (1 - limits.mode_drop) * best),
        _lost(coverage, max, lambda now, best: best >= limits.coverage_seen and now <= (1 - limits.mode_drop) * best),
        _lost(kl, min, lambda now, best: now - best >= limits.kl_rise),
    ]
    found["collapse"] = next((index for index in lost if index is not None), None)
    return found


def _discriminator_measures(watched: list[Watch], half: int, limits: Thresholds) -> dict[str, Any]:
    """How well D tells held-out images from samples in the second half, and when it had won."""
    auc = _series(watched, "d_auc")
    found: dict[str, Any] = {"won": _lost(auc, max, lambda now, best: now > limits.auc)}
    auc = auc[-half:]
    train = _series(watched, "d_auc_train")[-half:]
    real, fake = (_series(watched, f"d_accuracy_{side}")[-half:] for side in ("real", "fake"))
    if known := _known(auc):
        found["d_auc_late"] = median(known)
        found["d_dominance"] = sum(value > limits.auc for value in known) / len(known)
    if gaps := [a - b for a, b in zip(train, auc, strict=True) if a is not None and b is not None]:
        found["d_auc_gap"] = median(gaps)
    if accuracies := [min(a, b) for a, b in zip(real, fake, strict=True) if a is not None and b is not None]:
        found["d_saturation"] = median(accuracies)
    return found


def trained(record: Record) -> list[tuple[Evaluation, Watch]]:
    """The evaluations that have a ``u``: after training began, with an FID and a positive trace."""
    return [
        (evaluation, watch)
        for evaluation in record.evaluations
        if evaluation.images_seen > 0
        and (watch := evaluation.watch) is not None
        and watch.fid is not None
        and (watch.trace or 0) > 0
    ]


def parameter_growth(evaluations: Sequence[Evaluation]) -> list[float]:
    """At each evaluation the largest parameter norm of a role over that role's norm at the start of training.

    At most twice its growth since the evaluation after the start: an RBM begins near 0, and by then has grown sixfold.
    """
    norms = [(evaluation.watch and evaluation.watch.parameter_norms) or {} for evaluation in evaluations]
    first = {
        role: max(norm, (norms[1].get(role) or 0.0) / 2 if len(norms) > 1 else 0.0)
        for role, norm in (norms[0] if norms else {}).items()
        if norm
    }
    growth = ([norm / then for role, then in first.items() if (norm := now.get(role)) is not None] for now in norms)
    return [max(ratios, default=0.0) for ratios in growth]


def _trend(times: Sequence[float], series: Series, half: int) -> float | None:
    """The slope of the Theil-Sen line over H times the length of H."""
    known = [(x, y) for x, y in list(zip(times, series, strict=True))[-half:] if y is not None]
    return theil_sen(*zip(*known, strict=True)) * half if known else None


def _late_gain(times: Sequence[float], score: Sequence[float]) -> float:
    """By which share of itself a smoothed score, lower is better, falls over the last quarter; 0 where it was 0."""
    smooth = _smooth(score)
    _, before = min(zip(times, smooth, strict=True), key=lambda place: abs(place[0] - 0.75 * times[-1]))
    return (before - smooth[-1]) / abs(before) if before else 0.0


def _counted(mass: float, distance: float, kl: float | None, limits: Thresholds) -> bool:
    """Whether the count of modes means anything: enough points are in a mode, or all are far from the data."""
    crowded = kl is not None and mass * exp(kl) >= limits.share_counted
    return mass >= limits.mass_counted or crowded or distance >= limits.u_poor


class _Swing(NamedTuple):
    """A series about its Theil-Sen line: the line's slope, the residuals' deviation and its share of the mean; and the
    sum of the series' steps up.
    """

    slope: float
    size: float
    share: float
    rises: float


def _swing(times: Sequence[float], series: Sequence[float]) -> _Swing:
    slope = theil_sen(times, series)
    size = _deviation([y - slope * x for x, y in zip(times, series, strict=True)])
    mean = fmean(series)
    rises = sum(max(b - a, 0.0) for a, b in pairwise(series))
    return _Swing(slope, size, size / mean if mean > 0 else 0.0, rises)


def theil_sen(x: Sequence[float], y: Sequence[float]) -> float:
    """Median slope over all pairs of points (Sen 1968); scipy's, at a fortieth of its time. 0 without two places."""
    return median([(d - b) / (c - a) for (a, b), (c, d) in combinations(zip(x, y, strict=True), 2) if a != c] or [0.0])


def _deviation(values: Sequence[float]) -> float:
    centre = fmean(values)
    return sqrt(fmean([(value - centre) ** 2 for value in values]))


def _gradient_growth(telemetry: Telemetry) -> float | None:
    """None below 100 steps: a tenth of fewer is a handful of steps, of which the first is like no other."""
    if (telemetry.updates or {}).get("discriminator", FEWEST_STEPS) < FEWEST_STEPS:
        return None
    tenths = (telemetry.gradient_norm_tenths or {}).get("discriminator") or ()
    if not tenths or tenths[-1] is None or not (first := tenths[0]):
        return None
    return tenths[-1] / max(first, (tenths[len(tenths) // 2 - 1] or 0.0) / Thresholds.gradient_growth)


def _series(watched: Sequence[Watch], key: str) -> Series:
    values = (getattr(watch, key) for watch in watched)
    return [None if value is UNSET else value for value in values]


def _known(series: Series) -> list[float]:
    return [value for value in series if value is not None]


def _smooth(values: Sequence[float]) -> list[float]:
    """Running median of 3 at every position; an end takes the window next to it, so that no single value counts."""
    inner = [sorted(values[i : i + 3])[1] for i in range(len(values) - 2)]
    return [inner[0], *inner, inner[-1]] if inner else []


def _drop(series: Series) -> float | None:
    known = _known(series)
    if len(known) < 3:
        return None
    best = max(_smooth(known))
    return max(1 - known[-1] / best, 0.0) if best > 0 else 0.0


def _lost(series: Series, better: Callable[[float, float], float], lost: Callable[[float, float], bool]) -> int | None:
    """First position from which ``lost(value, best so far)`` holds to the end."""
    places = [i for i, value in enumerate(series) if value is not None]
    known = _known(series)
    start = None
    for place, value, best in zip(places, known, accumulate(_smooth(known), better), strict=False):
        if not lost(value, best):
            start = None
        elif start is None:
            start = place
    return start
