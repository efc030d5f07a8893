"""Observers of a run, which write its progress elsewhere, such as into TensorBoard.

An observer is told of evaluations and records and changes nothing; how a run is told to them is ``runner.observers``.
"""
