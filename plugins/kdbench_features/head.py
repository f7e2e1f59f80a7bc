"""SimKD's new end of a student."""

from torch import nn


class Head(nn.Module):
    """The projector and the classifier; in training it remembers what it projected."""

    def __init__(self, projector, classifier):
        super().__init__()
        self.projector, self.classifier, self._projected = projector, classifier, None

    def forward(self, vectors):
        """The teacher's classifier on the projected vectors."""
        projected = self.projector(vectors)
        if self.training:
            self._projected = projected
        return self.classifier(projected)

    def take(self):
        """What the last forward pass in training projected; the head forgets it."""
        projected, self._projected = self._projected, None
        return projected
