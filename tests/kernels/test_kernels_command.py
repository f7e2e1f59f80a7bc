"""`kdbench kernels info | build | check | bench`."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
import torch

import kdbench
from kdbench import kernels
from kdbench.kernels import bench, selfcheck
from kdbench.kernels.plain import Loss, kl, losses

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def command(tmp_path):
    """Run `kdbench kernels ...` on the stand-in's sources with a cache of its own."""
    sources = Path(shutil.copytree(STAND_IN, tmp_path / "sources"))

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(Path(kdbench.__file__).parents[1]), *sys.path]),
            "KDBENCH_KERNEL_SOURCES": str(sources),
            "KDBENCH_KERNEL_CACHE": str(tmp_path / "cache"),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "kdbench", "kernels", *arguments],
            env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    run.sources = sources
    return run


@pytest.fixture
def loss():
    """`kd_kl` and its formula."""

    def and_grad(one):
        leaf = one.leaves[0].clone().requires_grad_()
        value = kernels.kd_kl(leaf, *one.others, 4.0)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    example = losses()[0].example
    return Loss(
        "kl", example, lambda one: kernels.kd_kl(one.leaves[0], *one.others, 4.0), and_grad,
        lambda one: kl(one.leaves[0], *one.others),
    )  # fmt: skip


def test_info_before_and_after_a_build(command, tmp_path):
    before = json.loads(command("info", "--json").stdout)
    assert [one["kind"] for one in before] == ["cpu", "cuda"]
    assert (before[0]["state"], before[0]["directory"]) == ("not built", str(tmp_path / "cache"))
    assert not (tmp_path / "cache").exists(), "asking builds nothing"
    assert command("build").returncode == 0
    after = json.loads(command("info", "--json").stdout)[0]
    assert (after["state"], after["origin"], after["isa"]) == ("loaded", "cache", "baseline")
    assert after["torch"] == torch.__version__
    assert "-fno-math-errno" in after["flags"]
    table = command("info").stdout
    assert "state      loaded" in table
    assert after["compiler"] in table


@pytest.mark.skipif(torch.cuda.is_available(), reason="says why there are no CUDA kernels, where there is no GPU")
def test_info_says_why_there_are_no_cuda_kernels(command):
    cuda = json.loads(command("info", "--json").stdout)[1]
    assert cuda["state"] == "unavailable"
    assert "torch finds no GPU" in cuda["reason"]


def test_build_tells_each_step_with_its_time_and_again_only_if_forced(command):
    first = command("build")
    assert first.returncode == 0
    assert "/7] " in first.stderr or "/6] " in first.stderr or "/5] " in first.stderr
    for title in ("registration.cpp", "cpu/ops.cpp", "python/module.cpp", "libkdbench_kernels.so"):
        assert f"  {title}" in first.stderr
    assert "compiling" not in command("build").stderr
    assert "compiling" in command("build", "--force").stderr


def test_a_build_that_fails_exits_with_1_and_everything_that_the_compiler_said(command):
    (command.sources / "cpu" / "ops.cpp").write_text('#warning first words\n#error "last words"\n')
    for _ in range(2):
        done = command("build")
        assert done.returncode == 1
        assert "the cpu kernels did not compile" in done.stderr
        assert "first words" in done.stderr
        assert "[1/" in done.stderr, "it is tried again at once"
    state = json.loads(command("info", "--json").stdout)[0]
    assert state["state"] == "unavailable"
    assert "last words" in state["reason"]


def test_a_part_that_cannot_be_built_is_named_and_exits_with_1(command):
    (command.sources / "python" / "module.cpp").write_text("#error no module\n")
    done = command("build")
    assert done.returncode == 1
    assert "cpu: without _native" in done.stderr
    assert "no module" in done.stderr


def test_no_compiler_is_told_with_what_to_install(command):
    done = command("build", PATH="/nonexistent")
    assert done.returncode == 1
    assert "install a C++ compiler" in done.stderr


def test_a_loss_within_its_tolerance_is_checked_in_every_type_and_shape(loss):
    results = list(selfcheck.check_losses(("torch", "cpu"), [loss]))
    assert len(results) == 4 * len(selfcheck.SHAPES)
    assert all(result.ok for result in results)
    assert selfcheck.render(results).endswith(f"all {len(results)} are within their tolerance")


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_a_wrong_loss_is_found_and_told(loss, wrong):
    broken = replace(loss, fused=lambda one: loss.fused(one) * wrong)
    results = list(selfcheck.check_losses(("torch", "cpu"), [broken], [(8, 10)]))
    assert not any(result.ok for result in results if result.dtype in ("float32", "float64"))
    assert "are out of tolerance:" in selfcheck.render(results)


def test_a_wrong_gradient_of_the_twin_is_found(loss):
    broken = replace(loss, and_grad=lambda one: (loss.and_grad(one)[0], 1.01 * loss.and_grad(one)[1]))
    (result,) = selfcheck.check_losses(("torch", "cpu"), [replace(broken, dtypes=(torch.float64,))], [(8, 10)])
    assert result.gradient == pytest.approx(0.01)
    assert not result.ok


@pytest.mark.parametrize("one", losses(), ids=lambda one: one.name)
def test_every_loss_agrees_with_its_formula_on_every_back_end(one):
    backends = selfcheck.available_backends()
    assert ("torch", "cpu") in backends
    results = [
        result for backend in backends for result in selfcheck.check_losses(backend, [one], [(17, 33), (5, 1000)])
    ]
    assert [result for result in results if not result.ok] == []


def test_bench_measures_all_contestants_in_turn_and_says_on_what(loss):
    row = bench.measure(loss, 8, 10, torch.float32, "cpu", rounds=3)
    assert set(row.microseconds) == {"fused", "and_grad", "eager", "copy"}
    assert set(row.ratios) == {"eager / fused", "eager / and_grad", "copy / and_grad"}
    assert all(0 < one.low <= one.median <= one.high for one in row.microseconds.values())
    facts = bench.machine("cpu")
    assert facts["torch"] == torch.__version__
    text = bench.render(facts, [row])
    assert f"threads: {torch.get_num_threads()}" in text
    assert "8 x 10" in text


@pytest.mark.parametrize(("name", "slow", "fast"), [("kd_hinton", "fused", "kd_kl"), ("kd_kl", "eager_logs", "fused")])
def test_bench_measures_what_a_loss_is_compared_with_beside_it(name, slow, fast):
    one = next(one for one in losses() if one.name == name)
    row = bench.measure(one, 8, 10, torch.float32, "cpu", rounds=1)
    quotient = row.microseconds[slow].median / row.microseconds[fast].median
    assert row.ratios[f"{slow} / {fast}"].median == pytest.approx(quotient)


def test_rounds_time_every_contestant_alternately():
    order: list[str] = []
    contestants = {name: lambda name=name: order.append(name) for name in ("a", "b")}
    samples = bench.interleaved(contestants, 5, "cpu")
    assert [len(values) for values in samples.values()] == [5, 5]
    switches = sum(before != after for before, after in itertools.pairwise(order))
    assert switches >= 9


def test_what_torch_cannot_compile_is_a_note(loss):
    def untraceable(one):
        torch._dynamo.graph_break()
        return loss.plain(one)

    row = bench.measure(replace(loss, plain=untraceable), 4, 5, torch.float32, "cpu", compiled=True, rounds=1)
    assert "compiled" not in row.microseconds
    assert row.notes[0].startswith("torch.compile: ")


def test_what_a_benchmark_was_measured_on_can_be_written_as_json():
    from kdbench.kernels.bench import machine

    facts = json.loads(msgspec.json.encode(machine()))
    assert facts["torch"] == str(torch.__version__)
    assert int(facts["threads"]) >= 1
