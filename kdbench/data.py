"""What a dataset plugin gives, and what a model factory is told about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from numpy.typing import NDArray

Task = Literal["binary", "multiclass", "language-modeling", "multilabel", "retrieval", "seq2seq", "span-qa"]
TASKS: tuple[Task, ...] = get_args(Task)
ITEM_TASKS: tuple[Task, ...] = ("binary", "multiclass", "multilabel", "retrieval")
"""Those with one row of logits an item: for methods that use labels through `Batch.cross_entropy` alone."""
Preprocess = Literal["standardize", "image", "none"]
TOKEN_TASKS: tuple[Task, ...] = ("language-modeling", "seq2seq")
"""Those with a row of logits for each token: labels (N, L), logits (N, L, C), -100 where nothing is asked."""
SplitName = Literal["train", "validation", "test"]
DEFAULT_VIEW = "input"
IGNORED_LABEL = -100
"""The label of a token that is neither learnt nor scored: padding, or one that a masked language model was shown."""
PADDING, BEGIN, END = 0, 1, 2
"""In the vocabulary of a "seq2seq" dataset: padding, the beginning of a target (read), its end (said)."""


@dataclass(frozen=True, eq=False)
class Data:
    """Raw data as a plugin reads it; kdbench cleans, splits, standardises and fingerprints it.

    Args:
        inputs: one array per view, or one array for a single view; shape (N, ...), any numeric dtype.
            Images are (N, H, W) or (N, C, H, W); uint8 images are scaled to [0, 1]. A np.memmap of uint8
            (`kdbench.remember_on_disk`) is never held in memory: batches are read from it.
        labels: class indices, shape (N,), integers in [0, len(classes)). For "multilabel" 0 or 1, shape (N, C). For
            "language-modeling" one for each token of an item, shape (N, L): what the model is to say at that place, or
            -100 where it is not asked. For "seq2seq" the target, shape (N, T): its tokens and END, then -100. For
            "span-qa" the first and the last place of the answer, shape (N, 2). For "retrieval" any number
            from 0: items of one number belong together.
        classes: class names, in the order of their indices; for "language-modeling" and "seq2seq" the vocabulary; for
            "span-qa" the places of a text, "0" to its length; for "retrieval" there need not be any.
        task: "binary" (two classes), "multiclass", "multilabel", "language-modeling" (inputs are token indices, (N, L),
            not preprocessed), "seq2seq" (inputs are token indices, (N, S + T): the source with PADDING after it, then
            what the decoder reads, BEGIN and the target but its last; models return logits (N, T, C)), "span-qa"
            (models return logits (N, 2, L) of first and last place), or "retrieval" (they return embeddings).
        targets: for "retrieval": the embedding of each item's partner, which the item has to find, shape (N, D), as a
            frozen encoder gives it; without them items of one label have to be alike.
        embedding: for "retrieval" without targets: the size D of the embeddings.
        split: optional official split: for each item "train", "validation" or "test". What it leaves out
            (no validation, say) is drawn from train, stratified.
        groups: optional group of each item (person, document); a group never crosses splits.
        parts: for "span-qa" whose items are windows of longer texts: the number of the whole (question and text) that
            each item is a part of, and at which place of the whole's text the part begins, integers (N, 2). A whole is
            scored once, by the best span of its parts, and is in one split, with all of its parts. Place 0 of a part
            then stands for "the answer is not in this part whole", both labels 0; place 1 is the first of its text.
        preprocess: "standardize" (per column, on train), "image" (per channel, on train) or "none"; one for all views,
            or one per view.
        channels: mean and deviation of each channel of "image" views, uint8 ones scaled to [0, 1], where published
            weights were trained with given ones; those of the train items otherwise.
        source, licence: shown in reports.
    """

    inputs: Mapping[str, NDArray[Any]] | NDArray[Any]
    labels: NDArray[Any]
    classes: Sequence[str]
    task: Task = "multiclass"
    split: NDArray[Any] | None = None
    groups: NDArray[Any] | None = None
    parts: NDArray[Any] | None = None
    preprocess: Preprocess | Mapping[str, Preprocess] = "standardize"
    channels: tuple[Sequence[float], Sequence[float]] | None = None
    targets: NDArray[Any] | None = None
    embedding: int = 128
    source: str = ""
    licence: str = ""

    def views(self) -> dict[str, NDArray[Any]]:
        """Every view by name; a single array is the view "input"."""
        return dict(self.inputs) if isinstance(self.inputs, Mapping) else {DEFAULT_VIEW: self.inputs}

    def preprocess_of(self, view: str) -> Preprocess:
        """The preprocessing of one view."""
        return self.preprocess[view] if isinstance(self.preprocess, Mapping) else self.preprocess


@dataclass(frozen=True)
class DatasetInfo:
    """What a model factory may know: `build(info) -> nn.Module`.

    `input_shape` is one item's shape in the model's view, without the batch: (C, H, W) or (D,). `num_classes` is how
    many numbers a model says of an item, or of a token: for retrieval the size of the embedding.
    `label_shape` is one item's labels': (), or (T,) of a sequence of T tokens.
    """

    name: str
    task: Task
    num_classes: int
    input_shape: tuple[int, ...]
    train_size: int
    view: str = DEFAULT_VIEW
    class_names: tuple[str, ...] = field(default=(), compare=False)
    label_shape: tuple[int, ...] = ()
