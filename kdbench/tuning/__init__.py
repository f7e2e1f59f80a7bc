"""Hyper-parameter search with the same number of trials for every method, on validation alone."""
