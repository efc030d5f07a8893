"""The configurations that a search tries: a pure function of seed, variant, ranges and, for TPE, earlier scores.

The samplers are those of Optuna, which only this module imports.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal

import numpy as np

from ganbench.utils.errors import UsageError

# Configurations that TPE proposes from the same scores: so many can be trained at a time, whatever --jobs says.
ROUND = 10
_DIGITS = 3  # significant, so that a value can be read in a table and typed after --set

Values = dict[str, Any]


def optuna() -> ModuleType:
    """Optuna, silenced; raises UsageError, naming the extra, where it is not installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError("ganbench tune needs Optuna, which is not installed: pip install 'ganbench[tune]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def rounds(sampler: str, trials: int) -> list[range]:
    """The numbers of the configurations, in groups that can be proposed at once."""
    size = ROUND if sampler == "tpe" else trials
    return [range(start, min(start + size, trials)) for start in range(0, trials, size)]


class Proposer:
    """Proposes configurations of one variant on one dataset.

    Args:
        space: by name ``choices``, or ``low, high, log, whole``, as ``hyperparameters.space`` says it.
        base: every hyperparameter's value where it is not searched; configuration 0 is this one.
        sampler: ``random``, or ``tpe``: Bergstra et al., "Algorithms for Hyper-Parameter Optimization" (2011).
        direction: of the scores.
    """

    def __init__(
        self, variant: str, space: dict[str, Values], base: Values, sampler: str, seed: int, direction: str
    ) -> None:
        self.variant, self.base, self.sampler, self.seed = variant, base, sampler, seed
        self.direction: Literal["minimize", "maximize"] = "maximize" if direction == "max" else "minimize"
        self.space = space
        self.optuna = optuna()
        self.distributions = {name: self._distribution(name, about) for name, about in sorted(space.items())}

    def configuration(self, number: int, earlier: Sequence[tuple[Values, float]] = ()) -> Values:
        """Every hyperparameter of a configuration. ``earlier``: configurations and scores of the rounds before."""
        if number == 0 or not self.distributions:
            return dict(self.base)
        # A seed for each configuration: what one proposes depends on no other, so any of them can be asked for alone.
        entropy = [self.seed, number, *self.variant.encode()]
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        samplers = self.optuna.samplers
        sampler = samplers.TPESampler(seed=seed) if self.sampler == "tpe" else samplers.RandomSampler(seed=seed)
        study = self.optuna.create_study(sampler=sampler, direction=self.direction)
        for values, score in earlier if self.sampler == "tpe" else ():
            self._tell(study, values, score)
        drawn = study.ask(fixed_distributions=self.distributions).params
        return {**self.base, **{name: self._rounded(name, value) for name, value in drawn.items()}}

    def _tell(self, study: Any, values: Values, score: float) -> None:
        searched = {name: values[name] for name in self.distributions}
        try:
            study.add_trial(
                self.optuna.trial.create_trial(params=searched, distributions=self.distributions, value=score)
            )
        except ValueError:  # a default outside the range that its author declares: no search could have proposed it
            return

    def _distribution(self, name: str, about: Values) -> Any:
        kinds = self.optuna.distributions
        try:
            if "choices" in about:
                return kinds.CategoricalDistribution(about["choices"])
            if about["whole"]:
                return kinds.IntDistribution(math.ceil(about["low"]), math.floor(about["high"]), log=about["log"])
            return kinds.FloatDistribution(about["low"], about["high"], log=about["log"])
        except ValueError as reason:
            raise UsageError(f"{self.variant}: {name} cannot be searched as its author declares it: {reason}") from None

    def _rounded(self, name: str, value: Any) -> Any:
        if not isinstance(value, float):
            return value
        about = self.space[name]
        return min(max(float(f"{value:.{_DIGITS}g}"), about["low"]), about["high"])
