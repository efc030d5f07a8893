"""The constants of the stability rules, each with the evidence that set it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """The constants of the rules, each with the evidence that set it.

    "Healthy" are 102 runs in 11 settings, "slow" 42 in 5, "failures" 286 planted ones, of 30
    evaluations each on digits, ring8 and grid25. "FA" counts healthy runs called a failure, "missed"
    failures called stable; at these values they are 1 and 7.
    """

    parameter_growth: float = 20.0  # healthy at most 1.6; a discriminator at 100 times its rate at most 9.3
    gradient_growth: float = 100.0  # healthy at most 2.5; WGAN without a constraint 200 and more
    mode_drop: float = 0.5  # also coverage; 0.3 to 0.7 change no verdict
    coverage_seen: float = 0.1  # below it a halved coverage is noise
    kl_rise: float = 0.4  # 0.25 to 0.6 change no verdict
    u_rise: float = 0.1  # 0.05 to 0.15 change no verdict: a drop counts only if the score got worse
    auc: float = 0.95  # above it the discriminator has won an evaluation
    d_dominance: float = 0.5  # alone it accuses healthy runs (up to 0.87 of H); 0.3 to 0.7 change no verdict
    # Slow WGAN-GP has dominance 1.0 while it improves, and a batch-normalised discriminator spikes while it warms up
    # (dcgan on digits: 1.2 to 1.7 % of the steps of five good runs, u 0.19): rule 3 needs a poor score too.
    u_dominated: float = 0.3
    improving: float = -0.05  # trend; flags 3 of 42 slow runs, -0.10 flags 11
    d_saturation: float = 0.8  # 0.7 to 0.9 change no verdict
    grad_spikes: float = 0.002  # 0 in all healthy and slow runs without normalisation; 0.005 misses 11
    auc_spikes: float = 0.9  # spikes only mean dominance where the discriminator is ahead
    modes_covered: float = 1 / 3  # share of the true modes
    u_poor: float = 0.5  # undertrained above it, or never covered
    oscillation: float = 0.1  # .07: FA 6, missed 3; .13: FA 0, missed 10
    oscillation_alone: float = 0.15  # enough by itself; converging Dirac runs stay below 3e-6, cycling ones reach .27
    degraded: float = 0.15  # .10: FA 6, missed 6; .20: FA 1, missed 9
    u_nothing: float = 1.0  # a constant at the real mean does as well
    fewest: int = 10  # below it no word: at 10, FA 2 and missed 28
    coarse: int = 20  # below it the verdict is coarse: at 20, FA 1 and missed 9


THRESHOLDS = Thresholds()
