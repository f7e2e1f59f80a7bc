"""Distillation losses, useful on their own: this package knows nothing of the harness."""

from kdbench.kernels.backend import BACKENDS, Backend, backend_name, use_backend
from kdbench.kernels.kl import Reduction, kd_kl

__all__ = ["BACKENDS", "Backend", "Reduction", "backend_name", "kd_kl", "use_backend"]
