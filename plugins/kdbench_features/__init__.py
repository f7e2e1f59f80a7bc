"""Methods that read features: attention, similarities, relations, distributions, contrast."""

import kdbench


@kdbench.hookimpl
def kdbench_register_methods(register):
    """Register the feature, attention and relation methods."""
    register(
        "at",
        "kdbench_features.attention:AttentionTransfer",
        family="feature",
        source="Zagoruyko & Komodakis (2017)",
        summary="where the feature maps are strong",
    )
    register(
        "sp",
        "kdbench_features.similarity:SimilarityPreserving",
        family="relation",
        source="Tung & Mori (2019)",
        summary="which items of a batch are alike",
    )
    register(
        "rkd",
        "kdbench_features.relations:Relational",
        family="relation",
        source="Park et al. (2019)",
        summary="distances between two items and angles between three",
    )
    register(
        "pkt",
        "kdbench_features.probabilistic:ProbabilisticTransfer",
        family="relation",
        source="Passalis & Tefas (2018)",
        summary="who is whose neighbour, as a distribution",
    )
    register(
        "vid",
        "kdbench_features.information:VariationalInformation",
        family="feature",
        source="Ahn et al. (2019)",
        summary="feature regression weighted by a learnt variance of each channel",
    )
    register(
        "nst",
        "kdbench_features.selectivity:NeuronSelectivity",
        family="feature",
        source="Huang & Wang (2017)",
        summary="the distribution of the channels' patterns",
    )
    register(
        "cc",
        "kdbench_features.congruence:CorrelationCongruence",
        family="relation",
        source="Peng et al. (2019)",
        summary="kernel correlations between the items of a batch",
    )
    register(
        "simkd",
        "kdbench_features.reuse:ReusedClassifier",
        family="feature",
        source="Chen et al. (2022)",
        summary="features for the teacher's own classifier, which the student keeps",
    )
    register(
        "crd",
        "kdbench_features.contrast:ContrastiveRepresentation",
        family="relation",
        source="Tian et al. (2020)",
        summary="an item's embedding by both models against those of other items",
    )
    register(
        "ft",
        "kdbench_features.factors:FactorTransfer",
        family="feature",
        source="Kim et al. (2018)",
        summary="factors of an autoencoder of the teacher's maps, translated into",
    )
    register(
        "ab",
        "kdbench_features.boundaries:ActivationBoundaries",
        family="feature",
        source="Heo et al. (2019, AAAI)",
        summary="first the side of zero on which each neuron is, then labels",
    )
    register(
        "fsp",
        "kdbench_features.flow:FlowOfSolution",
        family="feature",
        source="Yim et al. (2017)",
        summary="first how one layer's maps become the next one's, then labels",
    )
    register(
        "ofd",
        "kdbench_features.overhaul:Overhaul",
        family="feature",
        source="Heo et al. (2019, ICCV)",
        summary="features before the activation, negative ones as far as they matter",
    )
    register(
        "reviewkd",
        "kdbench_features.review:KnowledgeReview",
        family="feature",
        source="Chen et al. (2021)",
        summary="each level fused with the deeper ones, against the teacher's",
    )
