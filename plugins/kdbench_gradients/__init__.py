"""Methods that transfer the teacher's gradients: at the input, as attention, or of the loss at a feature."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the gradient methods."""
    register(
        "jacobian",
        "kdbench_gradients.jacobian:JacobianMatching",
        family="gradient",
        source="Srinivas & Fleuret (2018)",
        summary="the direction in input space that raises one logit",
    )
    register(
        "sobolev",
        "kdbench_gradients.sobolev:Sobolev",
        family="gradient",
        source="Czarnecki et al. (2017)",
        summary="derivatives of the answer at the input, along random directions of the answer",
    )
    register(
        "lwm",
        "kdbench_gradients.attention:AttentionFromGradients",
        family="gradient",
        source="Dhar et al. (2019)",
        summary="class-activation maps: where in the picture a class is seen",
    )
    register(
        "grad_align",
        "kdbench_gradients.alignment:GradientAlignment",
        family="gradient",
        source="after Zagoruyko & Komodakis (2017, sec. 3.2)",
        summary="the direction in which a hidden feature would lower the loss",
    )
