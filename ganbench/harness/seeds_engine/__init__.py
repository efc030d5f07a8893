"""The engine that trains all seeds of a variant in one stacked computation.

The serial engine is ``ganbench.harness.training``; what both share stands there.
"""
