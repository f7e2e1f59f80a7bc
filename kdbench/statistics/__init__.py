"""What the numbers of runs support: intervals, paired tests, comparisons across datasets. scipy does the mathematics.

scipy is in the base install; the few lines that it lacks (Holm's correction, DeLong's variance, Nemenyi's comparison)
are here and are tested against statsmodels and scikit-posthocs, which would bring four packages for three formulas.
"""

from kdbench.statistics.across import (
    Friedman,
    average_ranks,
    critical_difference,
    friedman,
    nemenyi,
    win_tie_loss,
)
from kdbench.statistics.bootstrap import BCA_LEAST, bca_interval, items_interval
from kdbench.statistics.paired import PairedTest, cohen_dz, hedges_g, holm, paired_test
from kdbench.statistics.single_run import Auc, McNemar, auc_interval, mcnemar, share_interval

__all__ = [
    "BCA_LEAST",
    "Auc",
    "Friedman",
    "McNemar",
    "PairedTest",
    "auc_interval",
    "average_ranks",
    "bca_interval",
    "cohen_dz",
    "critical_difference",
    "friedman",
    "hedges_g",
    "holm",
    "items_interval",
    "mcnemar",
    "nemenyi",
    "paired_test",
    "share_interval",
    "win_tie_loss",
]
