"""Distillation losses, useful on their own: this package knows nothing of the harness.

Each loss has a twin `..._and_grad` that returns the gradient by the student's logits too, without autograd.
"""

from kdbench.kernels.backend import BACKENDS, Backend, backend_name, use_backend
from kdbench.kernels.check_mode import checked
from kdbench.kernels.divergence import kd_divergence, kd_divergence_and_grad
from kdbench.kernels.dkd import DkdLoss, kd_dkd, kd_dkd_and_grad
from kdbench.kernels.hinton import HintonLoss, kd_hinton, kd_hinton_and_grad
from kdbench.kernels.kl import kd_kl, kd_kl_and_grad
from kdbench.kernels.linear import linear_kd_kl, linear_kd_kl_and_grad
from kdbench.kernels.options import Divergence, Reduction, Tail, TeacherIs
from kdbench.kernels.topk import kd_topk, kd_topk_and_grad

__all__ = [
    "BACKENDS",
    "Backend",
    "Divergence",
    "DkdLoss",
    "HintonLoss",
    "Reduction",
    "Tail",
    "TeacherIs",
    "backend_name",
    "checked",
    "kd_divergence",
    "kd_divergence_and_grad",
    "kd_dkd",
    "kd_dkd_and_grad",
    "kd_hinton",
    "kd_hinton_and_grad",
    "kd_kl",
    "kd_kl_and_grad",
    "kd_topk",
    "kd_topk_and_grad",
    "linear_kd_kl",
    "linear_kd_kl_and_grad",
    "use_backend",
]
