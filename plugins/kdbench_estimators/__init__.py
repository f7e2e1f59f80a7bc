"""Teachers that are no networks of torch: any estimator that gives probabilities."""

import kdbench

FITTED = {
    "random-forest": ("random_forest", "200 trees on bootstraps, leaves of 2 items or more", "Breiman (2001)"),
    "gradient-boosting": ("gradient_boosting", "boosted trees on histograms, at most 100 rounds", "Friedman (2001)"),
    "logistic": ("logistic", "multinomial logistic regression, L2", ""),
    "knn": ("nearest_neighbours", "15 nearest neighbours, by distance", "Cover & Hart (1967)"),
    "tfidf-logistic": ("tfidf_logistic", "logistic regression on TF-IDF of token indices", ""),
}


@kdbench.hookimpl
def kdbench_register_teachers(register):
    """Estimators of scikit-learn, fitted by kdbench; trained ones of several libraries, from files."""
    for name, (attribute, title, source) in FITTED.items():
        register(name, f"kdbench_estimators.fitted:{attribute}", family="estimator", title=title, source=source)
    register(
        "sklearn",
        "kdbench_estimators.fitted:by_path",
        scheme=True,
        family="estimator",
        title="sklearn:MODULE.CLASS?name=value: any classifier with predict_proba",
    )
    for name, attribute, title, requires in (
        ("skops", "stored:skops_file", "skops:FILE: a fitted estimator in skops's format", ()),
        ("onnx", "onnx:onnx_file", "onnx:FILE: a classifier, by onnxruntime", ("onnxruntime",)),
        ("keras", "keras:keras_file", "keras:FILE.keras: a Keras 3 classifier, on torch", ("keras",)),
        ("lightning", "lightning:checkpoint", "lightning:MODULE:CLASS?ckpt=FILE: a LightningModule", ()),
    ):
        register(
            name,
            f"kdbench_estimators.{attribute}",
            scheme=True,
            pretrained=True,
            requires=requires,
            extra=name,
            family="estimator" if name != "lightning" else "lightning",
            title=title,
        )
