"""One trial, from a plugin and a dataset to an outcome: build, train, measure, evaluate, save, resume.

It knows neither the other trials (``runner``) nor the results folder's tables (``results``, ``reporters``).
"""
