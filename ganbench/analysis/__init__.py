"""From records to knowledge: stability verdicts, statistics over seeds, tiers, ranking, comparison, aggregation.

A new verdict rule, a new statistic, a new column of leaderboard or trials belongs here. How it looks in a file, on a
page or on the terminal belongs in ``reporters``; nothing here trains, and nothing imports torch.
"""
