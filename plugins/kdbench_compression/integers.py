"""The teacher in 8-bit integers: after training, or trained with the rounding."""

from typing import Annotated

import kdbench
from kdbench_compression.teacher import FineTuned, FromTeacher, example, first_line

Calibration = Annotated[int, kdbench.Meta(ge=1)]


class QuantDynamic(FromTeacher):
    """Post-training dynamic quantisation: linear layers with int8 weights, activations quantised for each batch.

    Uniform affine quantisation (Jacob et al., 2018, eq. 1). Everything but linear layers stays in float32.
    """

    name = "quant_dynamic"

    def check(self, pair):
        """Refuse models without linear layers, machines without integer kernels, and mixed precision."""
        check_quantisable(self, pair, pair.teacher.module, "dynamic")

    def finish(self, trainer):
        """Linear layers in int8."""
        from kdbench_compression.quantised import dynamic

        return dynamic(trainer.student)


class QuantStatic(FromTeacher):
    """Post-training static quantisation: weights (a scale for each channel) and activations in int8, computed so.

    Uniform affine quantisation (Jacob et al., 2018, eq. 1), batch norm folded into the convolutions; the ranges of the
    activations are those of `calibration` training items, drawn by the seed.
    """

    name = "quant_static"
    calibration: Calibration = 512

    def check(self, pair):
        """Refuse models that cannot be traced or quantised, machines without integer kernels, and mixed precision."""
        check_quantisable(self, pair, pair.teacher.module, "static")

    def finish(self, trainer):
        """The model in int8."""
        from kdbench_compression.quantised import calibrated

        return calibrated(trainer, self.calibration)


class QuantAware(FineTuned):
    """Quantisation-aware training (Jacob et al., 2018, eq. 12): the forward pass rounds as int8 will, gradients do not.

    The rounded teacher is trained on, then converted: what is scored computes in int8. It is trained on by (1−α)·CE +
    α·T²·KL(p_t^T ‖ p_s^T), t the original teacher, at `lr_factor` of the recipe's rate.

    Defaults: α 0 is labels alone; lr_factor .1 as Han et al. (2015) retrain LeNet.
    """

    name = "qat"
    parallel_fit = False  # each process would see ranges of its own

    def check(self, pair):
        """Refuse what quant_static refuses, and a recipe that averages weights over time."""
        self.refuse_average(pair)
        check_quantisable(self, pair, pair.teacher.module, "aware")

    def compressed(self, pair):
        """The teacher with simulated rounding."""
        from kdbench_compression.quantised import Simulated

        return Simulated(self.copied(pair), example(pair))

    def finish(self, trainer):
        """The model in int8."""
        return trainer.student.converted()


def check_quantisable(method, pair, model, kind):
    """Quantise a copy and run it on zeros; raises `MethodRefused` where that fails, or there is nothing to quantise.

    Mixed precision is refused too: int8 layers read float32, and training with rounding simulates that.
    """
    import torch
    from torch import nn

    from kdbench_compression import quantised

    precision = pair.recipe.precision
    if precision != "32-true":
        raise refusal(method, f"the recipe's precision is {precision}", "--set recipe.precision=32-true")
    device = next(model.parameters()).device
    if device.type != "cpu":
        raise refusal(method, f"torch's int8 kernels are for the CPU; the model is on {device}", "use --device cpu")
    if torch.backends.quantized.engine in ("none", None):
        raise refusal(method, "torch has no int8 kernels on this machine", "run it on an x86-64 or ARM processor")
    if kind == "dynamic" and not any(isinstance(module, nn.Linear) for module in model.modules()):
        raise refusal(method, "it has no linear layer, and dynamic quantisation is of these alone", "use quant_static")
    try:
        quantised.tried(model, example(pair), kind)
    except Exception as error:
        why = f"torch cannot quantise it: {type(error).__name__}: {first_line(error)}"
        raise refusal(method, why, "choose another model, or quant_dynamic") from error


def refusal(method, why, fix):
    """The error that says why the method cannot serve the pair."""
    return kdbench.MethodRefused(f"method {method.name!r} cannot quantise this model", why, fix)
