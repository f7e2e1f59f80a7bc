"""What one run produced: the row that everything downstream reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from kdbench.errors import NewerRecord, RecordError
from kdbench.published import Published

SCHEMA = 1
"""Raised when a reader of the previous schema would misread a record; a new optional field does not raise it."""

Status = Literal["ok", "failed", "timeout", "diverged"]


class Throughput(msgspec.Struct, kw_only=True):
    """Speed, measured after warm-up and apart from training. Samples per second; latencies in milliseconds."""

    train_samples_per_s: float | None = None
    inference_samples_per_s: dict[str, float] = {}
    """By batch size, as text: {"1": ..., "64": ...}."""
    latency_ms_p50: float | None = None
    latency_ms_p95: float | None = None


class Cost(msgspec.Struct, kw_only=True):
    """What the student costs to keep, and what the run cost to make."""

    parameters: int | None = None
    nonzero_parameters: int | None = None
    """Those that are not exactly 0: what pruning leaves of `parameters`. Zeros are stored and computed all the same."""
    teacher_parameters: int | None = None
    flops: int | None = None
    """Forward operations of one item (two per multiply-add), in floating point or, of quantised layers, in integers."""
    bytes: int | None = None
    """Parameters and buffers as stored: an int8 weight takes one, and its scales and zero points count too."""
    peak_memory_bytes: int | None = None
    seconds: dict[str, float] = {}
    """Wall seconds by phase: data, teacher, signals, train, finetune, finish, evaluate, throughput."""
    batch_seconds: float | None = None
    """Of the seconds of "train", those spent getting batches: selecting, augmenting."""
    steps: int = 0
    teacher_forward_samples: int = 0
    """Items the teacher was run on in this run; 0 where its signals were already in the bank."""


class Provenance(msgspec.Struct, kw_only=True):
    """What is needed to believe the number, and to repeat it."""

    kdbench: str = ""
    plugins: dict[str, str] = {}
    libraries: dict[str, str] = {}
    git_commit: str | None = None
    device: str = ""
    cpu: str = ""
    threads: int = 0
    workers: int = 1
    platform: str = ""
    python: str = ""
    deterministic: bool = False
    kernel_backend: str = ""
    dataset_fingerprint: str = ""
    teacher_fingerprint: str = ""
    command: str = ""
    """The command that repeats this run."""


class Summary(msgspec.Struct, kw_only=True):
    """A record without its long parts: what a leaderboard needs. `metrics` are on the test split."""

    schema: Annotated[int, Meta(ge=1)] = SCHEMA
    run_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """Stable hash of what defines the run; also the name of its directory in a store."""
    combo: str
    dataset: str
    task: str = "multiclass"
    teacher: str
    student: str
    student_source: Literal["student", "teacher"] = "student"
    """What the scored model was made from: the pair's student, or the teacher, by a method that compresses it."""
    teacher_view: str | None = None
    student_view: str | None = None
    method: str
    params: dict[str, Any] = {}
    overrides: dict[str, Any] = {}
    """The parameters that differ from the method's defaults."""
    recipe: str
    recipe_settings: dict[str, Any] = {}
    recipe_overrides: dict[str, Any] = {}
    teacher_recipe: str | None = None
    seed: int
    fold: int | None = None
    folds: int | None = None
    devices: Annotated[int, Meta(ge=1)] = 1
    """Processes that trained the run together, each on a GPU of its own where there are GPUs."""
    trial: bool = False
    """A trial of `kdbench tune`: scored on validation alone, so that it has neither test metrics nor speeds."""
    published: list[Published] = []
    """What papers report for the combo; empty where the run was set up differently."""
    status: Status
    error: str | None = None
    metrics: dict[str, float | None] = {}
    """Of the checkpoint chosen on validation. None: not a finite number."""
    val_metrics: dict[str, float | None] = {}
    teacher_metrics: dict[str, float | None] = {}
    throughput: Throughput = msgspec.field(default_factory=Throughput)
    cost: Cost = msgspec.field(default_factory=Cost)
    selected_epoch: int | None = None
    provenance: Provenance = msgspec.field(default_factory=Provenance)
    started: str
    """ISO 8601, UTC."""
    finished: str


class Record(Summary, kw_only=True):
    """One run at one seed (and fold), complete."""

    confusion: list[list[int]] = []
    """Test items by true class (row) and predicted class (column)."""
    history: list[dict[str, float | None]] = []
    """One row per epoch: epoch, lr, loss terms, val_loss, val_accuracy."""


class _Head(msgspec.Struct):
    schema: int = SCHEMA


R = TypeVar("R", bound=Summary)


def validate(obj: Record | Mapping[str, Any]) -> Record:
    """A checked Record from plain values, such as parsed JSON, or from a Record built without checks.

    Fields that this version does not know are left out.

    Raises: RecordError, which says where in the object the fault is, or that a newer kdbench wrote it.
    """
    try:
        record = msgspec.convert(msgspec.to_builtins(obj, enc_hook=_plain), Record)
    except (msgspec.ValidationError, TypeError) as error:
        head = obj.get("schema") if isinstance(obj, Mapping) else getattr(obj, "schema", None)
        raise _refusal("the record is not valid", error, head, fix="docs/records.md describes each field") from error
    if record.schema > SCHEMA:
        raise _refusal("the record", None, record.schema, fix="")
    return record


def encode(record: Record) -> bytes:
    """The record as JSON; what is not a finite number becomes null.

    Raises: RecordError for a value that JSON cannot hold, or that could not be read back.
    """
    name = f"the record of run {record.run_id!r}"
    try:
        try:
            encoded = msgspec.json.encode(record, enc_hook=_plain)
        except UnicodeEncodeError:  # a file name that is not UTF-8, in an error's message
            encoded = msgspec.json.encode(_without_surrogates(msgspec.to_builtins(record, enc_hook=_plain)))
        msgspec.json.decode(encoded, type=Record)
    except (msgspec.MsgspecError, TypeError, OverflowError) as error:
        fix = "this is a fault of the code that filled it in; docs/records.md describes each field"
        raise RecordError(f"{name} cannot be stored", str(error), fix) from error
    return encoded


def decode(data: bytes, kind: type[R], *, name: str, fix: str) -> R:
    """The record in `data` as a Record, or as a Summary, which is read faster.

    Raises: RecordError, which begins with `name`; `fix` says what to do about a damaged record.
    """
    try:
        record = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise _refusal(f"{name} is damaged", error, _schema_of(data), fix=fix, newer=name) from error
    if record.schema > SCHEMA:
        raise _refusal(name, None, record.schema, fix=fix, newer=name)
    return record


def _schema_of(data: bytes) -> int | None:
    try:
        return msgspec.json.decode(data, type=_Head).schema
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _refusal(what: str, error: Exception | None, schema: Any, *, fix: str, newer: str = "the record") -> RecordError:
    if isinstance(schema, int) and schema > SCHEMA:
        why = f"written by a newer kdbench (schema {schema}; this one reads up to {SCHEMA})"
        return NewerRecord(f"{newer} cannot be read", why, "upgrade: pip install --upgrade kdbench")
    return RecordError(what, str(error), fix)


def _plain(value: Any) -> Any:
    """The Python value of a NumPy scalar or array, without importing NumPy."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be stored: {value!r:.100}")


def _without_surrogates(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_without_surrogates(k): _without_surrogates(v) for k, v in value.items()}
        case list() | tuple():
            return [_without_surrogates(v) for v in value]
    return value
