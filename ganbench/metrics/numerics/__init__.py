"""Exact and fast building blocks of the metrics: distances, neighbours, Gaussian fits, kernel sums, in float64.

No metric is defined here; each stands in a file of its own in the package above.
"""
