"""A figure that a paper gives for a combo, to be shown beside what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from kdbench.metric_info import METRICS


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a paper reports for a combo run as it was registered.

    `value` is in the metric's own unit (an accuracy of 74.92 % is 0.7492), `source` names the paper and the table,
    `protocol` says what the figure is: over how many runs, of which epoch, on which split. `teacher` is the paper's
    figure for the teacher, where it tells.
    """

    metric: str
    value: float
    source: str
    protocol: str
    teacher: float | None = None


def published_of(metadata: Mapping[str, Any]) -> tuple[Published, ...]:
    """The figures of a combo's metadata, given as one `Published` or several of different metrics.

    Raises: ValueError for anything else, a figure without its source or protocol, or one outside its metric's range.
    """
    given = metadata.get("published", ())
    figures = (given,) if isinstance(given, Published) else tuple(given)
    for figure in figures:
        if not isinstance(figure, Published):
            raise ValueError(f"published={figure!r} is not a kdbench.Published")
        if not figure.source.strip() or not figure.protocol.strip():
            raise ValueError(f"the published {figure.metric} {figure.value} lacks its source or its protocol")
        info = METRICS.get(figure.metric)
        for value in (figure.value, figure.teacher):
            if info is not None and info.bounded and value is not None and not 0 <= value <= 1:
                raise ValueError(f"the published {figure.metric} {value} is not in [0, 1]; 74.92 % is 0.7492")
    metrics = [figure.metric for figure in figures]
    if len(set(metrics)) < len(metrics):
        raise ValueError(f"two published figures of one metric: {', '.join(metrics)}")
    return figures
