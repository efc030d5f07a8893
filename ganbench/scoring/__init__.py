"""Scoring samples that exist already: reading them from folders, archives and trials, caching features, ``score``.

The metrics themselves belong in ``metrics``; scoring during a training is ``harness.evaluation``.
"""

from ganbench.scoring.score import Options, Scores, score

__all__ = ["Options", "Scores", "score"]
