"""An exit: the layers from a shallow feature to a feature like the deepest, and to class logits."""

from torch import nn

import kdbench


class Exit(nn.Module):
    """From a feature of shape `shallow` to one of shape `deepest`, and from that to logits (N, classes)."""

    def __init__(self, shallow, deepest, classes):
        super().__init__()
        before = []
        if len(shallow) == 3:
            channels = shallow[0]
            before = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        self.bottleneck = nn.Sequential(*before, kdbench.projectors.regressor(shallow, deepest))
        pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if len(deepest) == 3 else []
        self.classifier = nn.Sequential(nn.ReLU(), *pool, nn.Linear(deepest[0], classes))

    def forward(self, shallow):
        """The feature, and the logits."""
        feature = self.bottleneck(shallow)
        return feature, self.classifier(feature)
