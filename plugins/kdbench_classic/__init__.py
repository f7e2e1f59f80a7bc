"""The baselines and the first distillation methods."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the baselines (scratch, label smoothing), soft targets, logit regression and FitNet."""
    register(
        "scratch",
        "kdbench_classic.baselines:Scratch",
        family="baseline",
        source="",
        summary="the student trained on labels alone: what every method is compared with",
    )
    register(
        "label_smoothing",
        "kdbench_classic.baselines:LabelSmoothing",
        family="baseline",
        source="Szegedy et al. (2016)",
        summary="labels mixed with the uniform distribution: a teacher that knows nothing",
    )
    register(
        "kd",
        "kdbench_classic.logits:SoftTargets",
        family="logit",
        source="Hinton et al. (2015)",
        summary="the teacher's softened probabilities",
    )
    register(
        "binary_kd",
        "kdbench_classic.independent:IndependentLabels",
        family="logit",
        source="Hinton et al. (2015)",
        summary="soft targets of labels that do not exclude each other, each by itself",
    )
    register(
        "logit_mse",
        "kdbench_classic.logits:LogitRegression",
        family="logit",
        source="Ba & Caruana (2014)",
        summary="mean squared error on the logits",
    )
    register(
        "fitnet",
        "kdbench_classic.hints:FitNet",
        family="feature",
        source="Romero et al. (2015)",
        summary="a middle layer regressed on the teacher's through a projector",
    )
