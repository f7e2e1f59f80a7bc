"""Call the CUDA operators a few times: what compute-sanitizer and ncu run, and the comparison with Liger.

python tools/gpu_driver.py small | one OPERATOR ROWS CLASSES DTYPE | liger ROWS CLASSES DTYPE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "kernels"))

from operator_cases import DTYPES, Case

OPERATORS = ("kl", "hinton", "divergence", "dkd", "topk")
# One width for each way in which a row is held, none of them a multiple of a vector.
SMALL = (3, 10, 129, 1023, 4097, 60001)


def on_device(arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments with their tensors on the GPU."""
    return {name: value.cuda() if isinstance(value, Tensor) else value for name, value in arguments.items()}


def load() -> None:
    """Build the CUDA kernels where they are not, and load them."""
    from kdbench.kernels import loading

    if loading.load_cuda(warn=False) is None:
        raise SystemExit(f"no CUDA kernels: {loading.problem('cuda')}")


def run_small() -> None:
    """Every operator, dtype and way of holding a row, and the scaling of a gradient."""
    for operator in OPERATORS:
        for dtype in DTYPES:
            for classes in SMALL:
                case = Case(operator, dtype, classes, 3)
                _, _, grad = getattr(torch.ops.kdbench, operator)(**on_device(case.arguments()))
                torch.ops.kdbench.scale_(grad, torch.tensor(2.0, dtype=case.acc, device="cuda"))
    torch.cuda.synchronize()


def run_one(operator: str, rows: int, classes: int, dtype: str) -> None:
    """One operator at one shape, three times: the last one is at its pace."""
    generator = torch.Generator("cuda").manual_seed(0)
    arguments = on_device(Case(operator, dtype, 8, 1).arguments())
    k = arguments["teacher_values"].shape[1] if operator == "topk" else classes
    for name in ("student", "teacher", "teacher_values"):
        if name in arguments:
            width = k if name == "teacher_values" else classes
            arguments[name] = torch.randn(rows, width, device="cuda", generator=generator).to(DTYPES[dtype]) * 2
    for name in ("labels", "teacher_indices"):
        if name in arguments:
            shape = (rows,) if name == "labels" else (rows, k)
            arguments[name] = torch.arange(shape[-1], device="cuda").expand(shape).contiguous() % classes
    for _ in range(3):
        getattr(torch.ops.kdbench, operator)(**arguments)
    torch.cuda.synchronize()


def run_liger(rows: int, classes: int, dtype: str) -> None:
    """kd_kl and Liger's KL, forward and backward, interleaved: microseconds, one JSON object."""
    from kdbench import kernels
    from kdbench.kernels.bench import interleaved, spread

    try:
        from liger_kernel.transformers import LigerKLDIVLoss
    except ImportError as error:
        print(json.dumps({"missing": str(error)}))
        return
    student = (torch.randn(rows, classes, device="cuda").to(DTYPES[dtype]) * 2).requires_grad_()
    teacher = torch.randn(rows, classes, device="cuda").to(DTYPES[dtype]) * 2
    liger = LigerKLDIVLoss(reduction="batchmean", log_target=False)

    def with_liger() -> None:
        student.grad = None
        liger(student.log_softmax(-1), teacher.softmax(-1)).backward()

    def fused() -> None:
        student.grad = None
        kernels.kd_kl(student, teacher).backward()

    samples = interleaved({"fused": fused, "liger": with_liger}, 41, "cuda")
    times = {name: spread([1e6 * value for value in values]).median for name, values in samples.items()}
    ratio = spread([a / b for a, b in zip(samples["liger"], samples["fused"], strict=True)])
    print(json.dumps({"rows": rows, "classes": classes, "dtype": dtype, "microseconds": times, "ratio": ratio.median}))


def main(arguments: list[str]) -> None:
    """Run what the command line names."""
    match arguments:
        case ["small"]:
            load()
            run_small()
        case ["one", operator, rows, classes, dtype]:
            load()
            run_one(operator, int(rows), int(classes), dtype)
        case ["liger", rows, classes, dtype]:
            load()
            run_liger(int(rows), int(classes), dtype)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
