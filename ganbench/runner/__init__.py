"""Many trials: planning, questions to plugins before they start, scheduling, time estimates, progress, observers.

What happens inside a trial belongs in ``harness``; on which machine it runs, in ``executors``.
"""
