"""Low-rank factorisation: a layer is replaced by two thinner ones."""

from typing import Annotated, Literal

import kdbench
from kdbench_compression.teacher import FineTuned


class LowRank(FineTuned):
    """The teacher's linear layers and convolutions factorised by SVD, then fine-tuning.

    A linear layer's weight (out, in) becomes (out, r)·(r, in) (Denton et al., 2014, sec. 3.2). A k×k convolution
    becomes, by `scheme`, "channel": a k×k one with r filters and a 1×1; "spatial": a k×1 one with r filters and a 1×k
    (Jaderberg et al., 2014, sec. 2, their second scheme; here in closed form, from the SVD). Either is the best in
    squared error over the weights among those of rank r. r is `rank_ratio` of the full rank, or with `energy` the
    smallest that keeps this share of the squared singular values. A layer that would not become smaller stays, and so
    do grouped convolutions and the layer that gives the classes, whose rank is theirs.

    It is trained on by (1−α)·CE + α·T²·KL(p_t^T ‖ p_s^T), t the original teacher, at `lr_factor` of the recipe's rate.

    Defaults: α 0 is labels alone; lr_factor .1 as Han et al. (2015) for LeNet; the ratio is kdbench's choice: it halves
    a square linear layer.
    """

    name = "low_rank"
    energy: Annotated[Annotated[float, kdbench.Meta(gt=0, le=1)] | None, kdbench.Search(fixed=True)] = None
    rank_ratio: Annotated[float, kdbench.Meta(gt=0, le=1), kdbench.Search(fixed=True, when=("energy", None))] = 0.25
    scheme: Annotated[Literal["channel", "spatial"], kdbench.Search(fixed=True)] = "channel"

    def compressed(self, pair):
        """The teacher with factorised layers."""
        from kdbench_compression.decompose import factorise

        model = self.copied(pair)
        if not factorise(model, self.rank_ratio, self.energy, self.scheme, pair.dataset.num_classes):
            given = f"rank_ratio={self.rank_ratio:g}" if self.energy is None else f"energy={self.energy:g}"
            raise self.refusal(
                f"no linear layer and no convolution of it becomes smaller at {given}", "ask for a lower rank"
            )
        return model
