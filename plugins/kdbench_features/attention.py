"""Attention transfer: where the maps are strong."""

from typing import Annotated

import kdbench
from kdbench_features.geometry import flat, same_size, unit
from kdbench_features.layers import LayerPairs, Layers


class AttentionTransfer(LayerPairs):
    """Activation-based attention transfer (Zagoruyko & Komodakis, 2017, eq. 2, with squared differences).

    CE + weight · Σ over layers of mean (Q_s/‖Q_s‖ − Q_t/‖Q_t‖)², Q the mean over channels of the squared map, flat. The
    mean is over items and positions, the paper's β/2 within the weight. Maps of different size are averaged down to
    the smaller. The weight suits maps of hundreds of positions; on maps of a few it outweighs the cross-entropy.
    """

    name = "at"
    maps = True
    student_layers: Layers = ("first", "middle", "last")
    teacher_layers: Layers = ("first", "middle", "last")
    weight: Annotated[float, kdbench.Meta(ge=0), kdbench.Search(1, 10_000, log=True)] = 1000.0

    def terms(self, batch, number, student, teacher):
        """The mean squared difference of the unit attention maps."""
        one, other = same_size(*(maps.square().mean(1, keepdim=True) for maps in (student, teacher)))
        return {"at": self.weight * (unit(flat(one)) - unit(flat(other))).square().mean()}
