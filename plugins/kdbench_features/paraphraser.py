"""Factor transfer's networks: the teacher's autoencoder and the student's translator."""

from torch import nn


class Factors(nn.Module):
    """A paraphraser of the teacher's maps and a translator of the student's, into as many channels."""

    def __init__(self, student, teacher, middle):
        super().__init__()
        self.paraphraser = Paraphraser(teacher, middle)
        self.translator = nn.Sequential(*_conv(student, student), *_conv(student, middle), *_conv(middle, middle))


class Paraphraser(nn.Module):
    """Maps to factors, and back to maps; once frozen it keeps its parameters and its batch statistics."""

    def __init__(self, channels, middle):
        super().__init__()
        self.encoder = nn.Sequential(*_conv(channels, channels), *_conv(channels, middle), *_conv(middle, middle))
        self.decoder = nn.Sequential(*_conv(middle, middle), *_conv(middle, channels),
                                     nn.Conv2d(channels, channels, 3, padding=1))  # fmt: skip
        self._frozen = False

    def forward(self, maps):
        """The factors of maps (N, C, H, W)."""
        return self.encoder(maps)

    def rebuilt(self, maps):
        """The maps from their factors."""
        return self.decoder(self.encoder(maps))

    def freeze(self):
        """Learn nothing any more."""
        self._frozen = True
        self.requires_grad_(False).train(False)

    def train(self, mode=True):
        """Training mode, unless it is frozen."""
        return super().train(mode and not self._frozen)


def _conv(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.1)
