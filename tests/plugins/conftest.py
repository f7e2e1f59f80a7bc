"""Puts this directory on the path of its tests, for `small_training`."""
