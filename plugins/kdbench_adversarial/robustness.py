"""Robust accuracy: the metric of a model under attack."""

import kdbench

EPS, STEPS, BATCH = 0.1, 20, 512


def robust_accuracy(text=f"{EPS:g}"):
    """The metric at eps `text`: the share of items that stay right under projected gradient ascent (PGD).

    Eps bounds each coordinate's change. Its unit is that of the model's inputs, which kdbench standardises: 1 is one
    standard deviation of the feature, or of the picture's channel, over the training items. The attack takes 20 steps
    of eps / 8 from the item itself up the margin, the largest other logit less the label's, which unlike cross-entropy
    does not flatten where the model is sure. An item counts that is right at every point of the way, the item itself
    among them, so the metric is never above accuracy. Every model is attacked alike, whatever it was trained with.

    Raises: InvalidParameter for a text that is no number above 0.
    """
    eps = _number(text)

    def metric(model, inputs, labels):
        parts = zip(inputs.split(BATCH), labels.split(BATCH), strict=True)
        return sum(int(_withstood(model, *part, eps).sum()) for part in parts) / len(labels)

    return metric


def _withstood(model, inputs, labels, eps):
    """Which items are right at every point of the attack, (N,) bool."""
    import torch

    from kdbench_adversarial.attack import ascend

    right = torch.ones_like(labels, dtype=torch.bool)
    label = labels[:, None]

    def margin(at):
        logits = model(at)
        right.logical_and_(logits.argmax(1) == labels)
        others = logits.scatter(1, label, -torch.inf)
        return (others.amax(1) - logits.gather(1, label).squeeze(1)).sum()

    end = ascend(margin, inputs, eps=eps, step_size=eps / 8, steps=STEPS)
    with torch.no_grad():
        margin(end)
    return right


def _number(text):
    try:
        eps = float(text)
    except ValueError:
        eps = 0.0
    if not 0 < eps < float("inf"):
        raise kdbench.InvalidParameter(
            f"metric 'robust_accuracy:{text}': {text!r} is no number above 0",
            "it bounds the change of each standardised input",
            f"for example: --measure robust_accuracy:{EPS:g}",
        )
    return eps
