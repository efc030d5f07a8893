"""Judges the stability of one training in a word: stable, or one of five ways of being unstable, from its measures.

That a training failed is more certain than how: on well separated modes a generator that oscillates hops between
modes, and one that is trained too long loses classes as in a collapse. There is no published standard for any of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ganbench.analysis.measures import THRESHOLDS, Measures, Thresholds, measures, parameter_growth, trained
from ganbench.results.schema import Record

__all__ = [
    "MEANINGS",
    "QUALIFIERS",
    "THRESHOLDS",
    "UNSTABLE",
    "WORDS",
    "Measures",
    "Verdict",
    "measures",
    "verdict",
]

WORDS = ("diverged", "collapsed", "dominated", "oscillating", "degraded", "stable", "unknown")
UNSTABLE = ("diverged", "collapsed", "dominated", "oscillating", "degraded")
QUALIFIERS = ("still improving", "undertrained", "coarse")  # notes on how much a word says
# What each word says to somebody who has just read an introduction to GANs.
MEANINGS = {
    "diverged": "numbers blew up: a loss, a gradient or a weight grew without bound or stopped being a number",
    "collapsed": "the generator shows one thing, or a few: most of what the data hold is missing",
    "dominated": "the discriminator runs away: it tells real from fake, and the generator learns too little from it",
    "oscillating": "the two chase each other: the score swings instead of settling",
    "degraded": "it was better earlier: the longer it trains, the worse its samples",
    "stable": "it trained to the end; in equilibrium a discriminator is right half of the time (D AUC 1/2)",
    "unknown": "too few evaluations to say",
}


@dataclass(frozen=True)
class Verdict:
    """One word on a trial, or None: a baseline, or a trial that ended in an error rather than in a result.

    Attributes:
        word: the first of the rules that holds.
        notes: the kind (``lost modes``, ``still improving``, ...) and ``coarse``.
        evidence: the figures that decided, by the name of their measure.
        step, images_seen: where it happened, if it happened at a point.
        measures: everything that was measured; empty where there is no word.
    """

    word: str | None = None
    notes: tuple[str, ...] = ()
    evidence: Mapping[str, float | None] = field(default_factory=dict)
    step: int | None = None
    images_seen: int | None = None
    measures: Measures = field(default_factory=Measures)

    @property
    def note(self) -> str:
        return "; ".join(self.notes)

    @property
    def figures(self) -> str:
        """The evidence as text: ``u_end 1.04, u_rise 0.91``."""
        return ", ".join(f"{name} {value:.3g}" for name, value in self.evidence.items() if value is not None)


def verdict(record: Record, limits: Thresholds = THRESHOLDS) -> Verdict:
    """Judge one trial; the first rule that holds gives the word.

    1. ``diverged``: something was not finite; a role's parameter norm grew more than 20-fold, or the
       discriminator's gradient norm more than 50-fold. Only the gradients need 10 evaluations; below
       that anything else is ``unknown``.
    2. ``collapsed`` (lost modes): half the modes or of the coverage of images gone at the end, or mode_kl up by
       0.4, and u up by 0.1 or, of points, mode_kl as high as where half of the modes are missing.
    3. ``dominated``: u is poor, and the discriminator has won half of H and u no longer improves (or the
       discriminator saturates, or its gradients spike while it is ahead). Only with a discriminator, and below 20
       evaluations only where u stands still.
    4. ``collapsed`` (never covered): a third of the modes at most, u poor, and not improving or oscillating;
       or (missing modes) mode_kl over H and at the end as high as where half of them are missing, and not falling,
       however good u is.
    5. ``oscillating``: u swings by 0.1, or by 0.05 and a fifth of itself (of images by 0.015 and 15 %), and does not
       improve, is poor or was better; or it swings by 0.15; and goes up as well as down.
    6. ``degraded``: u was better by 0.125, or, of images, FID is 1.7 times its best, as in over-training;
       ``d_auc_gap`` shows over-fitting.
    7. ``collapsed`` (learned nothing): no better than a constant, and not improving.
    8. ``stable``; ``still improving`` (u, or the score by a tenth of itself over the last quarter) and
       ``undertrained`` are notes, because slow is no failure.

    A baseline has no verdict, nor has a trial that ended in ``error``, ``crashed``, ``timeout`` or ``oom``.
    """
    if record.role == "baseline" or record.status not in ("completed", "diverged"):
        return Verdict()
    found = measures(record, limits)
    return replace(_word(record, found, limits), measures=found)


def _word(record: Record, found: Measures, limits: Thresholds) -> Verdict:
    if blown := _diverged(record, found, limits):
        return blown
    if len(found.u) < limits.fewest:
        return Verdict("unknown", (f"fewer than {limits.fewest} evaluations",), {"evaluations": len(found.u)})
    word, kinds, names, place = _judge(found, bool(record.adversarial), limits)
    notes = (*kinds, "coarse") if len(found.u) < limits.coarse else kinds
    where = None if place is None else trained(record)[place][0]
    evidence = {name: getattr(found, name) for name in names}
    if where is None:
        return Verdict(word, notes, evidence)
    return Verdict(word, notes, evidence, where.step, where.images_seen)


def _diverged(record: Record, found: Measures, limits: Thresholds) -> Verdict | None:
    nonfinite = record.telemetry and record.telemetry.first_nonfinite
    if nonfinite:
        return Verdict("diverged", (f"{nonfinite.what} is not finite",), {}, nonfinite.step)
    if record.status == "diverged":
        return Verdict("diverged", ("not finite",))
    if _least(found.parameter_growth, limits.parameter_growth, strict=True):
        growth = parameter_growth(record.evaluations)
        first = next(i for i, value in enumerate(growth) if value > limits.parameter_growth)
        at = record.evaluations[first]
        evidence = {"parameter_growth": found.parameter_growth}
        return Verdict("diverged", ("parameters blew up",), evidence, at.step, at.images_seen)
    # Over the few steps of a short training, a critic's gradients rise by as much while all is well.
    enough = len(found.u) >= limits.fewest
    if enough and _least(found.gradient_growth, limits.gradient_growth, strict=True):
        return Verdict("diverged", ("gradients blew up",), {"gradient_growth": found.gradient_growth})
    return None


def _least(value: float | None, bound: float, strict: bool = False) -> bool:
    """Whether ``value`` is known and at least (if ``strict``: more than) ``bound``."""
    return value is not None and (value > bound if strict else value >= bound)


def _falling(m: Measures, share: float) -> bool:
    """Whether mode_kl falls by this share of itself over H: modes still come."""
    return (m.kl_trend or 0.0) <= share * (m.kl_late or 0.0)


def _missing(m: Measures, limits: Thresholds) -> bool:
    """Whether about half of the modes are missing, throughout H and at its end, or hardly shown, and do not come."""
    kl = min(m.kl_late or 0.0, m.kl_end or 0.0)
    some = m.modes is not None and m.modes_end is not None and m.modes_end <= limits.modes_half * m.modes
    if kl >= (limits.kl_half if some else limits.kl_most) and not _falling(m, limits.kl_falling):
        return True
    standing = (m.trend or 0.0) > limits.improving and not _falling(m, limits.kl_falling_classes)
    return m.coarse_modes and standing and kl >= limits.kl_classes


def _judge(
    m: Measures, adversarial: bool, limits: Thresholds
) -> tuple[str, tuple[str, ...], tuple[str, ...], int | None]:
    """Rules 2 to 8: word, kinds, names of the deciding measures, and the evaluation where it happened."""
    u, swing, trend, distance = m.u_end or 0.0, m.oscillation or 0.0, m.trend or 0.0, m.distance_end or 0.0
    rise = m.u_rise or 0.0
    empty = m.mass_end is not None and m.mass_end < limits.mass_nothing
    stuck = trend > limits.improving
    share, small = limits.oscillation_share_images, limits.oscillation_small_images
    if m.points:
        share, small = limits.oscillation_share, limits.oscillation_small
    # A single step up makes residuals as large: rule 6 has a better word for it.
    relative = rise < limits.degraded and _least(m.oscillation_share, share) and swing >= small
    large = (relative or swing >= limits.oscillation) and (stuck or u >= limits.u_poor or rise >= limits.u_rise)
    up_and_down = _least(m.rises, limits.oscillation_rises * swing)
    oscillating = up_and_down and (large or swing >= limits.oscillation_alone)
    lost = (
        _least(m.mode_drop, limits.mode_drop)
        or (_least(m.coverage_drop, limits.mode_drop) and _least(m.coverage_best, limits.coverage_seen))
        or _least(m.kl_rise, limits.kl_rise)
    )
    # Points that concentrate on a few modes become sharper in them, so that their score can improve.
    concentrated = m.points and _least(m.kl_end, limits.kl_half) and not _falling(m, limits.kl_falling)
    if lost and (rise >= limits.u_rise or concentrated):
        return "collapsed", ("lost modes",), ("mode_drop", "coverage_drop", "kl_rise", "kl_end", "u_rise"), m.collapse
    # In a short training the discriminator is ahead before the generator has begun, and its first gradients are large.
    won = trend > limits.standstill or (len(m.u) >= limits.coarse and (trend > limits.learning or empty))
    if adversarial and won:
        beaten = stuck or _least(m.d_saturation, limits.d_saturation)
        poor = distance >= limits.u_dominated
        if _least(m.d_dominance, limits.d_dominance) and poor and beaten:
            return "dominated", ("generator beaten",), ("d_dominance", "distance_end", "trend", "d_saturation"), m.won
        if _least(m.grad_spikes, limits.grad_spikes) and _least(m.d_auc_late, limits.auc_spikes) and (poor or empty):
            return "dominated", ("gradient spikes",), ("grad_spikes", "d_auc_late", "distance_end", "u_end"), m.won
    few = m.modes is not None and m.modes_end is not None and m.modes_end <= limits.modes_covered * m.modes
    if few and distance >= limits.u_poor and (stuck or oscillating):
        return "collapsed", ("never covered",), ("modes_end", "modes", "distance_end", "trend", "oscillation"), None
    if _missing(m, limits):
        return "collapsed", ("missing modes",), ("kl_late", "kl_end", "kl_trend", "u_end", "trend"), None
    if oscillating:
        return "oscillating", (), ("oscillation", "oscillation_share", "u_end", "u_rise", "distance_end"), None
    # Where no point is in a mode, u stands still, and points can still go farther away.
    if empty and _least(m.distance_rise, max(limits.degraded, rise)):
        return "degraded", ("nearer earlier",), ("distance_rise", "distance_best", "distance_end"), m.nearest
    beyond = not m.points and u >= limits.degraded_ratio * (m.u_best or 0.0) and rise >= limits.degraded_swings * swing
    if rise >= limits.degraded or (beyond and rise >= limits.degraded_small):
        return "degraded", ("best score earlier",), ("u_rise", "u_best", "u_end", "d_auc_gap"), m.best
    if stuck and (u >= limits.u_nothing or empty):
        return "collapsed", ("learned nothing",), ("u_end", "trend"), None
    falls = _least(m.late_gain, limits.late_gain) and trend <= limits.late_trend * u
    notes = (("still improving",) if falls or not stuck else ()) + (("undertrained",) if u >= limits.u_poor else ())
    return "stable", notes, ("u_end", "trend", "late_gain"), None
