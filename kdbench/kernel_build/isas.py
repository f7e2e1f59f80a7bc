"""Instruction sets: those that the rows can be compiled for, and those that this processor has."""

from __future__ import annotations

from pathlib import Path

_BASELINE = "baseline"
_OPTIONS = {"v4": ("-march=x86-64-v4",), "v3": ("-march=x86-64-v3",), _BASELINE: ("-march=x86-64",)}

# The x86-64 psABI's levels, in the words of /proc/cpuinfo ("abm" is lzcnt there).
_V3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_NEEDS = {"v4": _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}, "v3": _V3, _BASELINE: set[str]()}


def known_isas(machine: str) -> dict[str, tuple[str, ...]]:
    """The compiler's options for each instruction set of a kind of machine, the fastest first."""
    return dict(_OPTIONS) if machine in {"x86_64", "AMD64"} else {_BASELINE: ()}


def machine_isas(machine: str, cpuinfo: str | None = None) -> dict[str, tuple[str, ...]]:
    """Those of them that this processor has; the baseline alone where the system does not tell.

    Args:
        machine: as platform.machine() names it.
        cpuinfo: what /proc/cpuinfo says; read by default.
    """
    has = _features(_read_cpuinfo() if cpuinfo is None else cpuinfo)
    return {name: options for name, options in known_isas(machine).items() if _NEEDS[name] <= has}


def _features(cpuinfo: str) -> set[str]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return set(value.split())
    return set()


def _read_cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
