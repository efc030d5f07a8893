"""The constants of the stability rules, each with the evidence that set it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """The constants of the rules, each with the evidence that set it.

    "Healthy" and "failures" are the runs of results/calibration (20 evaluations each; its README has the range of
    every measure and what moving each threshold does). "Study" are 102 healthy runs, 42 slow and 286 failing
    ones on smaller networks, of 30 evaluations; FA counts healthy ones called a failure, missed failures called stable.
    """

    parameter_growth: float = 20.0  # healthy at most 3.0; a discriminator at 100 times its rate 9.3 in the study
    gradient_growth: float = 50.0  # healthy at most 13, a critic without a constraint 90 and more
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
    d_saturation: float = 0.8  # 0.7 to 0.9 changed no verdict of the study
    grad_spikes: float = 0.002  # 0 in healthy runs without batch normalisation, but for lsgan
    auc_spikes: float = 0.9  # spikes only mean dominance where the discriminator is ahead
    modes_covered: float = 1 / 3  # share of the true modes
    u_poor: float = 0.5  # undertrained above it, or never covered
    oscillation: float = 0.1  # healthy at most 0.054; study: .07: FA 6, missed 3; .13: FA 0, missed 10
    oscillation_alone: float = 0.15  # enough by itself, in a run that improves, too
    degraded: float = 0.125  # healthy at most 0.074; study: .10: FA 6, missed 6; .15: 1 and 7; .20: 1 and 9
    u_nothing: float = 1.0  # a constant at the real mean does as well
    fewest: int = 10  # below it no word: at 10, the study's FA is 2 and 28 are missed
    coarse: int = 20  # below it the verdict is coarse: at 20, FA 1 and 9 are missed


THRESHOLDS = Thresholds()
