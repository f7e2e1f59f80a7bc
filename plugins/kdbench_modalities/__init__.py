"""Pairs of modalities."""
