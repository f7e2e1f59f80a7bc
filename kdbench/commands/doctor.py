"""`kdbench doctor`: what this installation can do, and what is wrong with it."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import msgspec

from kdbench.cores import usable_cores
from kdbench.errors import DataNotAvailable
from kdbench.fetching.holdings import missing, way_to_get
from kdbench.plugins import Plugin, Plugins, describe
from kdbench.version import __version__

_LIBRARIES = (
    "torch",
    "lightning-fabric",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "safetensors",
    "msgspec",
    "pluggy",
)


@dataclass(frozen=True)
class Finding:
    """One line of the report. A fault is what must be mended; what is merely absent is no fault."""

    name: str
    text: str
    fault: bool = False


def doctor_command(plugins: Plugins, *, as_json: bool) -> tuple[str, bool]:
    """The findings as text or JSON, and whether none of them is a fault."""
    findings = [
        Finding("kdbench", f"{__version__}, Python {platform.python_version()}, {platform.platform()}"),
        Finding("cores", str(usable_cores())),
        *(_library(name) for name in _LIBRARIES),
        *_devices(),
        _checked("kernels", _kernels),
        *(_plugin(plugin) for plugin in plugins.plugins),
        *_data(plugins),
    ]
    sound = not any(finding.fault for finding in findings)
    if as_json:
        return msgspec.json.format(msgspec.json.encode(findings), indent=2).decode(), sound
    width = max(len(finding.name) for finding in findings)
    lines = [f"{'FAULT' if one.fault else 'ok   '}  {one.name.ljust(width)}  {one.text}" for one in findings]
    return "\n".join(lines), sound


def _library(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, f"not installed; pip install {name}", fault=True)


def _checked(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, check())
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a part, the others are still reported
        return Finding(name, describe(error).replace("\n", ";"), fault=True)


def _devices() -> list[Finding]:
    def cpu() -> str:
        import torch

        return (
            f"torch {torch.__version__}, {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
        )

    def gpu() -> str:
        import torch

        if torch.cuda.is_available():
            return ", ".join(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
        return "mps" if torch.backends.mps.is_available() else "none; runs go to the CPU"

    return [_checked("cpu", cpu), _checked("gpu", gpu)]


def _kernels() -> str:
    """One line for each kind; nothing is built."""
    from kdbench.kernels.status import status

    cpu, cuda = status("cpu"), status("cuda")
    compiler = shutil.which(os.environ.get("CXX", "c++")) or "no C++ compiler"
    match cpu.state:
        case "loaded":
            text = f"CPU: built for {'/'.join(cpu.isas)}, here {cpu.isa or 'operators only'}, from the {cpu.origin}"
        case "not built":
            text = f"CPU: built at first use with {compiler} (or now: kdbench kernels build)"
        case "unavailable":
            text = f"CPU: plain torch: {'; '.join(cpu.reason.splitlines())}"
    gpu = {"loaded": f"built for {'/'.join(cuda.isas)}", "not built": "built at first use"}
    return f"{text}. CUDA: {gpu.get(cuda.state) or cuda.reason.splitlines()[0]}"


def _plugin(plugin: Plugin) -> Finding:
    state = "blocked" if plugin.blocked else f"{plugin.distribution} {plugin.version}"
    return Finding(f"plugin {plugin.name}", "; ".join([state, *plugin.problems]), fault=bool(plugin.problems))


def _data(plugins: Plugins) -> list[Finding]:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # looking whether data is here must not fetch it, nor wait for a hub
    findings = []
    for entry in plugins.catalog.entries("dataset"):
        if entry.metadata.get("scheme"):
            continue
        if entry.missing:
            findings.append(Finding(f"dataset {entry.name}", f"unavailable; {entry.install_command}"))
            continue
        if entry.sources and not missing(entry):  # reading it may take its time; `kdbench data verify` looks closer
            findings.append(Finding(f"dataset {entry.name}", "fetched"))
            continue
        try:
            entry.load()()
            findings.append(Finding(f"dataset {entry.name}", "found"))
        except DataNotAvailable as error:
            findings.append(Finding(f"dataset {entry.name}", f"not on this machine; {way_to_get(entry, error)}"))
        except Exception as error:  # noqa: BLE001 - whatever a plugin's factory raises is a finding
            findings.append(Finding(f"dataset {entry.name}", describe(error), fault=True))
    return findings
