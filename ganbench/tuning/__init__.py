"""The search for hyperparameters: what is tried next, with which budget, and the tables of what was found.

The command itself is ``cli.tune``; training the trials is the ``runner``'s work.
"""
