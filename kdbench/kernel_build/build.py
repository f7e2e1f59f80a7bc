"""A build looked up, or made: in the cache, or in a directory that is asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from kdbench.errors import KernelsNotBuilt
from kdbench.kernel_build.cache import (
    DESCRIPTION,
    Built,
    file_hash,
    find_family,
    find_in_cache,
    locked,
    publish,
    read_built,
    recent_failure,
    remember_failure,
    scratch,
    unwritable,
)
from kdbench.kernel_build.ninja import TIME_LIMIT, Outcome, first_errors, run_ninja
from kdbench.kernel_build.targets import Build
from kdbench.kernel_build.toolchain import require_compiler

Say = Callable[[str], None]

_SHOW_ALL = "kdbench kernels build tries again and shows everything; KDBENCH_KERNELS=torch does without"


def find_built(build: Build, cache: Path) -> Built | None:
    """The result of a build that was made before; any compiler's where there is none now."""
    return find_family(cache, build.family) if build.compiler is None else find_in_cache(cache, build.key)


def ensure_built(
    build: Build,
    cache: Path,
    *,
    say: Say,
    on_step: Say | None = None,
    force: bool = False,
    retry: bool = False,
) -> Built:
    """The result of a build: found in the cache, or made there.

    Of processes that begin at once, one builds; the others wait for it. One that is killed leaves nothing that another
    would take for a result.

    Args:
        say: told when a build begins, or another process is waited for.
        on_step: told of each compilation that ends.
        force: make it, whatever is there.
        retry: make it also where it failed a short while ago, or was built without one of its libraries.

    Raises: KernelsNotBuilt: no compiler, a compiler that fails, a cache that cannot be written.
    """
    if not force and (found := _usable(build, cache, retry)):
        return found
    if build.compiler is None:
        require_compiler()
    if not retry and not force:
        _raise_recent_failure(build, cache)
    on_wait = lambda: say(f"kdbench: waiting for another process that compiles the {build.kind} kernels ...")  # noqa: E731
    with locked(cache, build.key, TIME_LIMIT[build.kind] + 60, on_wait):
        if not force and (found := _usable(build, cache, retry)):
            return found
        if not retry and not force:
            _raise_recent_failure(build, cache)
        expected = "about 10 s" if build.kind == "cpu" else "some minutes"
        say(f"kdbench: compiling {build.kind.upper()} kernels (once, {expected}) into {cache} ...")
        try:
            return _build_in_cache(build, cache, on_step or (lambda _: None))
        except KernelsNotBuilt as error:
            remember_failure(cache, build.key, error)
            raise
        except OSError as error:
            raise unwritable(cache, error) from error


def build_into(build: Build, directory: Path, *, on_step: Say) -> Built:
    """Make a build in a directory of the caller's. Every library of it must come out.

    Raises: KernelsNotBuilt.
    """
    if build.compiler is None:
        require_compiler()
    if build.missing:
        raise KernelsNotBuilt("a part of the kernels cannot be built", "; ".join(build.missing.values()))
    work = directory / "work"
    work.mkdir(parents=True)
    built = _make(build, work, directory / "build.log", on_step)
    if missing := built.facts["missing"]:
        raise KernelsNotBuilt("a part of the kernels was not built", "; ".join(missing.values()))
    for file in [*built.facts["files"], DESCRIPTION]:
        (work / file).replace(directory / file)
    shutil.rmtree(work)
    (directory / "build.log").unlink(missing_ok=True)
    return Built(directory, built.facts)


def _usable(build: Build, cache: Path, whole: bool) -> Built | None:
    found = find_built(build, cache)
    return None if found is None or (whole and found.facts["missing"]) else found


def _raise_recent_failure(build: Build, cache: Path) -> None:
    if (failure := recent_failure(cache, build.key)) is not None:
        raise KernelsNotBuilt(failure.what, failure.why, failure.fix, failure.log)


def _build_in_cache(build: Build, cache: Path, on_step: Say) -> Built:
    work = scratch(cache, build.key)
    try:
        (cache / "logs").mkdir(exist_ok=True, mode=0o700)
        _make(build, work, cache / "logs" / f"{build.key}.log", on_step)
        publish(work, cache, build.key)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    found = read_built(cache / build.key)
    if found is None:
        raise KernelsNotBuilt("the kernels were damaged as they were written", f"in {cache / build.key}", _SHOW_ALL)
    return found


def _make(build: Build, work: Path, log: Path, on_step: Say) -> Built:
    """Build in `work` and describe what came out."""
    outcome = run_ninja(build, work, on_step)
    log.write_text(outcome.output, encoding="utf-8")
    files, missing = {}, dict(build.missing)
    for library in build.libraries:
        if (work / library.file).is_file():
            files[library.file] = file_hash(work / library.file)
        elif library.required:
            raise _failed(build, outcome, log)
        else:
            own = {file: text for file, text in outcome.failures.items() if file in (library.file, *library.objects)}
            missing[library.file] = first_errors("\n".join(own.values())) or f"not built; see {log}"
    facts = {
        **build.facts,
        "kind": build.kind,
        "built": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": {one.title: outcome.seconds.get(one.file) for one in build.objects}
        | {one.file: outcome.seconds.get(one.file) for one in build.libraries},
        "files": files,
        "missing": missing,
    }
    (work / DESCRIPTION).write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=2))
    for name in [one.file for one in build.objects] + ["build.ninja", ".ninja_log", ".ninja_deps"]:
        (work / name).unlink(missing_ok=True)
    return Built(work, facts)


def _failed(build: Build, outcome: Outcome, log: Path) -> KernelsNotBuilt:
    said = first_errors("\n".join(outcome.failures.values()) or outcome.output)
    why = f"{said}\n(all of it in {log})"
    return KernelsNotBuilt(f"the {build.kind} kernels did not compile", why, _SHOW_ALL, log=str(log))
