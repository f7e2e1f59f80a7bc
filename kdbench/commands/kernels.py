"""`kdbench kernels info | build | check | bench`."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build import Build, Built, cache_directory, ensure_built, find_prebuilt

Say = Callable[[str], None]


def info_command(*, as_json: bool) -> str:
    """What is built, from where and for what; or why not, and what to do."""
    from kdbench.kernels.status import status

    found = [status("cpu"), status("cuda")]
    if as_json:
        return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()
    return "\n\n".join(_table(msgspec.to_builtins(one)) for one in found)


def build_command(*, force: bool, say: Say) -> bool:
    """Build what can be built here, with a line for each step; whether all that this machine needs came out."""
    import torch

    from kdbench.kernels.loading import cpu_request, cuda_request

    fine = _build("cpu", cpu_request, force, say)
    if torch.cuda.is_available():
        fine = _build("cuda", cuda_request, force, say) and fine
    else:
        say("cuda: not built: torch finds no GPU that it can use")
    return fine


def check_command(*, as_json: bool) -> tuple[str, bool]:
    """The errors of every loss on every back end that is there, and whether all are within their tolerance."""
    from kdbench.kernels.selfcheck import available_backends, check_losses, render

    results = [result for backend in available_backends() for result in check_losses(backend)]
    fine = all(result.ok for result in results)
    if as_json:
        return msgspec.json.format(msgspec.json.encode(results), indent=2).decode(), fine
    return render(results), fine


def bench_command(*, quick: bool, device: str | None, as_json: bool, say: Say) -> str:
    """The benchmark table: each loss fused, in eager torch, and compiled by torch where that works."""
    from kdbench.kernels.bench import machine, measure_all, render

    rows = measure_all(quick=quick, device=device, say=say)
    facts = machine(device)
    if as_json:
        return msgspec.json.format(msgspec.json.encode({"machine": facts, "rows": rows}), indent=2).decode()
    return render(facts, rows)


def _build(kind: str, request: Callable[[], Build], force: bool, say: Say) -> bool:
    started = time.monotonic()
    try:
        built, wheel = (None, "") if force else find_prebuilt("cpu" if kind == "cpu" else "cuda")
        if wheel:
            say(f"{kind}: {wheel}")
        if built is None:
            plan = request()
            built = ensure_built(plan, cache_directory(), say=say, on_step=say, force=force, retry=True)
    except KernelsNotBuilt as error:
        say(f"{kind}: FAILED: {error}")
        if error.log:
            with open(error.log, encoding="utf-8") as log:
                say(log.read().rstrip())
        return False
    say(_times(built))
    say(f"{kind}: in {built.directory}, ready after {time.monotonic() - started:.1f} s")
    for file, why in built.facts["missing"].items():
        say(f"{kind}: without {file}: {why}")
    return not built.facts["missing"]


def _times(built: Built) -> str:
    seconds = {title: value for title, value in built.facts["seconds"].items() if value is not None}
    width = max(map(len, seconds), default=0)
    rows = sorted(seconds.items(), key=lambda item: -item[1])
    return "\n".join(f"  {title.ljust(width)}  {value:6.2f} s" for title, value in rows)


def _table(fields: dict[str, object]) -> str:
    rows = {name: ", ".join(value) if isinstance(value, list) else str(value) for name, value in fields.items()}
    rows = {name: value.replace("\n", "\n" + " " * 11) for name, value in rows.items() if value}
    return "\n".join(f"{name.ljust(9)}  {value}" for name, value in rows.items())
