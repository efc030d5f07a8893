"""What may watch a run and write it down elsewhere, such as TensorBoard.

An observer is told of evaluations and records and changes nothing; how a run is told to them is ``runner.observers``.
"""
