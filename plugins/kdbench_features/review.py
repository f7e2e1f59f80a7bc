"""Knowledge review: each of the student's levels, with what the deeper ones know, against the teacher's."""

from typing import Annotated

import kdbench
from kdbench_features.layers import LayerPairs, Layers


class KnowledgeReview(LayerPairs):
    """Knowledge review (Chen et al., 2021, sec. 3): CE + weight · Σ over levels of HCL(f_t, ABF(f_s, deeper levels)).

    From the deepest level to the shallowest, attention-based fusion (ABF) brings the student's feature to `width`
    channels by a 1×1 convolution, adds to it what was fused so far, each weighted at every position by an attention map
    of both, hands the sum on, and makes of it the teacher's shape by a 3×3 convolution. The hierarchical context loss
    (HCL) is the mean squared difference of the maps and of what is averaged down to 4×4, 2×2 and 1×1, with weights that
    halve from each to the next and sum to 1. Vectors are maps of one position. Layers are named from shallow to deep.

    Weights of 0.6 to 8 are in use; 1 is the default here. It rises linearly over the first `warmup` epochs. `width` is,
    as public configurations have it, the channels of the student's deepest level, 512 at most.
    """

    name = "reviewkd"
    normalizes = normalizes_student = True
    student_layers: Layers = ("first", "middle", "last", "penultimate")
    teacher_layers: Layers = ("first", "middle", "last", "penultimate")
    weight: Annotated[float, kdbench.Meta(ge=0)] = 1.0
    warmup: Annotated[int, kdbench.Meta(ge=0)] = 20
    width: Annotated[int, kdbench.Meta(ge=1)] | None = None

    def mismatch(self, student, teacher):
        """Maps go with maps, vectors with vectors."""
        if len(student) == len(teacher) and len(student) in {1, 3}:
            return ""
        return "it needs maps (C, H, W) of both models, or vectors (D,) of both"

    def build(self, pair):
        """The fusion of all levels."""
        from kdbench_features.fusion import Review

        shapes = self.shapes(pair)
        return Review(shapes, self.width or min(512, shapes[-1][0][0]))

    def layer_terms(self, batch, student, teacher):
        """The hierarchical context losses, summed over the levels."""
        from kdbench_features.fusion import context_loss

        ours, theirs = zip(*self.paired(student, teacher), strict=True)
        rise = min(1.0, (batch.epoch + 1) / self.warmup) if self.warmup else 1.0
        reviewed = self.module(ours)
        return {"hcl": rise * self.weight * sum(map(context_loss, reviewed, theirs))}
