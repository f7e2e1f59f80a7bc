"""Methods with an adversary: discriminators that tell student from teacher, and attacks on the input."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the adversarial methods."""
    register(
        "xu_gan",
        "kdbench_adversarial.conditional:ConditionalAdversarial",
        family="adversarial",
        source="Xu et al. (2018)",
        summary="logits that a discriminator, which also names the class, takes for the teacher's",
    )
    register(
        "kdgan",
        "kdbench_adversarial.three_players:ThreePlayers",
        family="adversarial",
        source="Wang et al. (2018)",
        summary="student and teacher against a discriminator of labels, each taught by the other",
    )
    register(
        "ard",
        "kdbench_adversarial.robust:RobustDistillation",
        family="adversarial",
        source="Goldblum et al. (2020)",
        summary="the teacher's answer to an item for the student under attack; measured by robust accuracy",
    )
    register(
        "bss",
        "kdbench_adversarial.boundary:BoundarySamples",
        family="adversarial",
        source="Heo et al. (2019)",
        summary="soft targets on items moved to the teacher's decision boundary",
    )


@kdbench.hookimpl
def kdbench_register_metrics(register):
    """Register robust accuracy, of any model: `kdbench run --measure robust_accuracy:0.1`."""
    register(
        "robust_accuracy",
        "kdbench_adversarial.robustness:robust_accuracy",
        of="model",
        scheme=True,
        differentiates=True,
    )
