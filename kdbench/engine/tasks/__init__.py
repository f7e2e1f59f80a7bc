"""What depends on the task: how labels are checked, what a model answers, its loss on labels, its scores.

One module a task; everything else in the engine is the same for all of them.
"""

from __future__ import annotations

from kdbench.data import Task
from kdbench.engine.tasks.classification import Classification
from kdbench.engine.tasks.kind import Answers, TaskKind, Truth
from kdbench.engine.tasks.multilabel import MultiLabel
from kdbench.engine.tasks.retrieval import Retrieval
from kdbench.engine.tasks.seq2seq import SequenceToSequence
from kdbench.engine.tasks.spans import Spans
from kdbench.engine.tasks.tokens import Tokens

__all__ = ["KINDS", "Answers", "TaskKind", "Truth", "kind_of"]

_CLASSIFICATION = Classification()
KINDS: dict[Task, TaskKind] = {
    "binary": _CLASSIFICATION,
    "multiclass": _CLASSIFICATION,
    "multilabel": MultiLabel(),
    "language-modeling": Tokens(),
    "retrieval": Retrieval(),
    "seq2seq": SequenceToSequence(),
    "span-qa": Spans(),
}
"""The tasks that can be run."""


def kind_of(task: Task) -> TaskKind:
    """How a task is served."""
    return KINDS[task]
