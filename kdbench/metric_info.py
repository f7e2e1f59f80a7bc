"""How each built-in metric reads: its title, its direction and its unit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdbench.catalog import Catalog


@dataclass(frozen=True)
class MetricInfo:
    """Args: title: for tables. bounded: lies in [0, 1]. percent: shown times a hundred."""

    title: str
    higher_is_better: bool = True
    bounded: bool = True
    percent: bool = True


METRICS: dict[str, MetricInfo] = {
    "accuracy": MetricInfo("accuracy"),
    "top5_accuracy": MetricInfo("top-5"),
    "balanced_accuracy": MetricInfo("balanced accuracy"),
    "precision_macro": MetricInfo("precision"),
    "precision_micro": MetricInfo("precision (micro)"),
    "precision_weighted": MetricInfo("precision (weighted)"),
    "recall_macro": MetricInfo("recall"),
    "recall_micro": MetricInfo("recall (micro)"),
    "recall_weighted": MetricInfo("recall (weighted)"),
    "f1_macro": MetricInfo("F1"),
    "f1_micro": MetricInfo("F1 (micro)"),
    "f1_weighted": MetricInfo("F1 (weighted)"),
    "roc_auc": MetricInfo("ROC AUC", percent=False),
    "average_precision": MetricInfo("average precision", percent=False),
    "log_loss": MetricInfo("log-loss", higher_is_better=False, bounded=False, percent=False),
    "subset_accuracy": MetricInfo("subset accuracy"),
    "precision_at_1": MetricInfo("P@1"),
    "precision_at_1_reverse": MetricInfo("P@1 (reverse)"),
    "mrr": MetricInfo("MRR", percent=False),
    "mrr_reverse": MetricInfo("MRR (reverse)", percent=False),
    "hit_rate_at_10": MetricInfo("hit rate at 10"),
    "eer": MetricInfo("EER", higher_is_better=False),
    "span_f1": MetricInfo("span F1"),
    "perplexity": MetricInfo("perplexity", higher_is_better=False, bounded=False, percent=False),
    "ece": MetricInfo("ECE", higher_is_better=False, percent=False),
    "brier": MetricInfo("Brier", higher_is_better=False, bounded=False, percent=False),
    "agreement": MetricInfo("agreement"),
}
"""By the name used in records; kdbench.engine.metrics, multilabel_metrics and retrieval_metrics define each."""


def metric_format(name: str, *, signed: bool = False) -> Callable[[float], str]:
    """How a value of the metric is written: as a percentage without its sign where it is one."""
    sign = "+" if signed else ""
    if name in METRICS and METRICS[name].percent:
        return lambda value: f"{100 * value:{sign}.2f}"
    return lambda value: f"{value:{sign}.4f}" if abs(value) < 1e4 else f"{value:{sign}.4g}"


def lower_is_better(catalog: Catalog) -> frozenset[str]:
    """The metrics of plugins for which a smaller value is better."""
    return frozenset(m.name for m in catalog.entries("metric") if m.metadata.get("higher_is_better") is False)
