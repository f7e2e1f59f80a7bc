"""Puts this directory on the path of its tests, for `digits_bench`."""
