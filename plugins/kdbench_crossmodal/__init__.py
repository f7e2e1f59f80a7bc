"""Methods for a teacher and a student that see different views of an item: modalities, sensors, languages."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the cross-modal and cross-language methods."""
    for name, target, source, summary in (
        (
            "cross_soft",
            "soft:CrossSoft",
            "Aytar et al. (2016)",
            "the teacher's soft labels on pairs without labels, or with a few",
        ),
        (
            "gupta",
            "supervision:SupervisionTransfer",
            "Gupta et al. (2016)",
            "mid-level features of the other modality first, labels afterwards",
        ),
        (
            "contrastive_crossmodal",
            "contrast:ContrastiveCrossModal",
            "van den Oord et al. (2018), Tian et al. (2020)",
            "an item's embedding in one modality against the batch's in the other",
        ),
        (
            "multilingual",
            "multilingual:Multilingual",
            "Reimers & Gurevych (2020)",
            "the teacher's embedding of the source, from the source and from the target language",
        ),
    ):
        twins = {"given": ("labelled",), "undistilled": {"weight": 0}} if name == "cross_soft" else {}
        register(name, f"kdbench_crossmodal.{target}", family="cross-modal", source=source, summary=summary, **twins)
