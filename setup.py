"""Packages of the distribution: the harness, the first-party plugins, and the kernels' sources as package data."""

from setuptools import find_packages, setup

PLUGINS = find_packages("plugins")

setup(
    packages=[*find_packages(".", include=["kdbench", "kdbench.*"]), *PLUGINS, "kdbench.csrc"],
    package_dir={"kdbench.csrc": "csrc", **{name: f"plugins/{name.replace('.', '/')}" for name in PLUGINS}},
    package_data={
        "kdbench": ["py.typed", "schema/*.json"],
        "kdbench.csrc": ["*.cpp", "*.h", "*.md", "cpu/*", "cuda/*", "include/*"],
        "kdbench_data": ["data/*"],
    },
)
