"""Two and three real processes that train one run together, against one process that trains it alone."""

from __future__ import annotations

import multiprocessing
import pickle
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

import kdbench
from kdbench.data import DatasetInfo
from kdbench.engine.augment import augmentation
from kdbench.engine.bank import TrainedTeacher, get_teacher
from kdbench.engine.context import make_fabric
from kdbench.engine.peers import Peers
from kdbench.engine.signals import LiveTeacher, NoTeacher, stored_signals
from kdbench.engine.train import Trainer
from kdbench.engine.views import Views
from kdbench.errors import Diverged, MethodRefused, PeerLost
from kdbench.method import Method, ModelInfo, Pair
from kdbench.place import Place

pytestmark = pytest.mark.slow
ITEMS, CLASSES, SIZE, BATCH = 27, 3, 4, 8  # batches of 8, 8, 8 and 3: with three processes shares of 2, 3 and 3 items
INFO = DatasetInfo("made up", "multiclass", CLASSES, (SIZE,), ITEMS)


class Plain(Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


class Owner(Method):
    """Has a projector in the student's optimiser, and a critic that it steps itself."""

    needs = kdbench.needs(logits=True)

    def build(self, pair):
        return nn.ModuleDict({"projector": nn.Linear(CLASSES, 5), "critic": nn.Linear(CLASSES, 1)})

    def optimizers(self, pair):
        return {"critic": torch.optim.Adam(self.module["critic"].parameters(), lr=0.05)}

    def step(self, trainer, batch):
        student, teacher = trainer.student_outputs(batch), trainer.teacher_outputs(batch)
        critic, own = self.module["critic"], trainer.method_optimizers["critic"]
        own.zero_grad()
        judged = critic(teacher.logits) - critic(student.logits.detach())
        (judged.mean() + judged.square().mean()).backward()
        own.step()
        hint = (self.module["projector"](student.logits) - self.module["projector"](teacher.logits)).square().mean()
        return trainer.optimize({"ce": batch.cross_entropy(student.logits), "critic": critic(student.logits).mean(),
                                 "hint": 0.1 * hint})  # fmt: skip


class Mutual(Method):
    needs = kdbench.needs(logits=True)
    trains_teacher = True

    def loss(self, batch, student, teacher):
        kl = kdbench.kernels.kd_kl(student.logits, teacher.logits, 2.0)
        return {"s": batch.cross_entropy(student.logits), "t": batch.cross_entropy(teacher.logits), "kl": kl}


class Sometimes(Method):
    """One parameter is reached by a single item, another by none: no process may wait for its gradient."""

    def build(self, pair):
        return nn.ModuleDict({"rare": nn.Linear(CLASSES, CLASSES), "never": nn.Linear(2, 2)})

    def loss(self, batch, student, teacher):
        loss, rare = batch.cross_entropy(student.logits), batch.index == 0
        if rare.any():
            projected = self.module["rare"](student.logits[rare])
            return {"ce": loss, "rare": projected.square().sum() / len(batch.labels)}
        return {"ce": loss}


class StepsItself(Method):
    def step(self, trainer, batch):
        loss = batch.cross_entropy(trainer.student_outputs(batch).logits)
        trainer.optimizer.zero_grad()
        loss.backward()
        trainer.optimizer.step()
        return {"loss": loss.detach()}


class Explodes(Method):
    """Not finite for one item only, which one process has."""

    def loss(self, batch, student, teacher):
        far = float("inf") if (batch.index == 3).any() else 0.0
        return {"ce": batch.cross_entropy(student.logits), "far": student.logits.new_tensor(far)}


class OddOptimizer(Method):
    def optimizers(self, pair):
        return {"odd": SimpleNamespace(param_groups=[])}


def network(seed: int, *, norm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Linear(SIZE, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Linear(8, CLASSES)
    )


def views(items: int, seed: int) -> Views:
    inputs = torch.randn(items, SIZE, generator=torch.Generator().manual_seed(seed))
    return Views(inputs, inputs, torch.arange(items) % CLASSES)


def train(fabric: Fabric, method: Method, *, norm: bool = False, augment: tuple[str, ...] = (), **recipe: Any) -> dict:
    """Train for a few epochs; what came out, as plain values."""
    settings = kdbench.Recipe(**{"epochs": 3, "batch_size": BATCH, "lr": 0.1, "momentum": 0.9} | recipe)
    teacher = network(5)
    source = (
        LiveTeacher(teacher, method.needs, "t", trains=method.trains_teacher) if method.needs.teacher else NoTeacher()
    )
    torch.manual_seed(11)
    trainer = Trainer(
        fabric=fabric, method=method, pair=Pair(INFO, ModelInfo("s", network(1, norm=norm)), None, settings.epochs, 4),
        teacher=source, train=views(ITEMS, 0), validation=views(10, 1), recipe=settings, seed=0,
        augment=augmentation(augment) if augment else None,
    )  # fmt: skip
    trainer.run_epochs()
    modules = {"student": trainer.student, "teacher": teacher} | ({"own": method.module} if method.module else {})
    weights = {f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()}
    return {
        "weights": weights, "history": trainer.history, "steps": trainer.steps, "samples": trainer.samples,
        "selected": trainer.selected_epoch,
    }  # fmt: skip


CASES: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "plain": (Plain, {}),
    "step schedule, clipping, average of weights, noise": (
        Plain, {"clip_norm": 0.5, "ema": 0.5, "augment": ("noise",), "schedule": "step"},
    ),
    "adamw, early stop": (
        Plain, {"optimizer": "adamw", "epochs": 40, "lr": 0.5, "patience": 2, "schedule": "constant"},
    ),
    "own modules and optimisers": (Owner, {}),
    "a teacher that learns": (Mutual, {}),
    "parameters without gradient": (Sometimes, {"weight_decay": 0.1}),
    "a method that steps the student itself": (StepsItself, {}),
}  # fmt: skip


def all_cases(fabric: Fabric, directory: Path) -> dict[str, Any]:
    return {name: train(fabric, method(), **dict(options)) for name, (method, options) in CASES.items()}


def with_batch_norm(fabric: Fabric, directory: Path) -> dict[str, Any]:
    return train(fabric, Plain(), norm=True)


def exploding(fabric: Fabric, directory: Path) -> str:
    with pytest.raises(Diverged) as caught:
        train(fabric, Explodes())
    return str(caught.value)


def with_an_odd_optimizer(fabric: Fabric, directory: Path) -> str:
    with pytest.raises(MethodRefused) as caught:
        train(fabric, OddOptimizer())
    return str(caught.value)


def bank(fabric: Fabric, directory: Path) -> Any:
    """A teacher and its signals: who trained, who computed, and what all have in the end."""
    peers, trained = Peers(fabric), []

    def teach(module: nn.Module) -> TrainedTeacher:
        trained.append(peers.rank)
        return TrainedTeacher({"accuracy": 0.5}, torch.zeros(2, CLASSES).numpy())

    teachers = [get_teacher(directory, "key", "t", network(7 + peers.rank), teach, peers) for _ in range(2)]
    signals, ran_on = stored_signals(
        teachers[0].module, "t", views(ITEMS, 0).student, ("last",), teachers[0].directory / "signals", tuple, peers
    )
    same = teachers[0].fingerprint == teachers[1].fingerprint
    return {"trained": len(trained), "same": same, "ran_on": ran_on, "logits": signals["logits"]}


def lonely(fabric: Fabric, directory: Path) -> str:
    """The last process leaves; the others find out at their next exchange."""
    if fabric.global_rank == fabric.world_size - 1:
        return "left"
    try:
        for _ in range(100):
            Peers(fabric).add(torch.ones(1))
    except PeerLost as error:
        return str(error)
    return "nobody is missed"


def together(job: Any, size: int, directory: Path) -> list[Any]:
    """What `job(fabric, directory)` returns in each of `size` processes."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe(duplex=False) for _ in range(size)]
    places = [Place(rank, size, str(directory / "meeting")) for rank in range(size)]
    processes = [
        context.Process(target=_member, args=(job, place, theirs, directory))
        for place, (_, theirs) in zip(places, ends, strict=True)
    ]
    for process, (_, theirs) in zip(processes, ends, strict=True):
        process.start()
        theirs.close()
    try:
        answers = [pickle.loads(mine.recv_bytes()) if mine.poll(120) else "silent" for mine, _ in ends]
    finally:
        for process in processes:
            process.kill()
            process.join()
    assert not [text for text in answers if isinstance(text, str) and "Traceback" in text], answers
    return answers


def _member(job: Any, place: Place, connection: Any, directory: Path) -> None:
    from kdbench.executors.worker import take_place

    take_place(place)
    torch.set_num_threads(1)
    try:
        run = SimpleNamespace(device="cpu", deterministic=True)
        answer = job(make_fabric(run, "32-true", place), directory)
    except BaseException:  # noqa: BLE001 - told to the test
        answer = traceback.format_exc()
    connection.send_bytes(pickle.dumps(answer))  # whole: shared memory would go with this process


def alone(job: Any, directory: Path) -> Any:
    return job(Fabric(accelerator="cpu", devices=1), directory)


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, Any]:
    return alone(all_cases, tmp_path_factory.mktemp("alone"))


@pytest.mark.parametrize("size", [2, 3])
def test_they_end_where_one_process_ends(tmp_path, expected, size):
    """Same batches, steps and rates; gradients averaged over shares of different sizes: equal up to rounding."""
    for rank, answer in enumerate(together(all_cases, size, tmp_path)):
        for name, got in answer.items():
            want, where = expected[name], f"{name}, process {rank}"
            assert {k: got[k] for k in ("steps", "samples", "selected")} == {
                k: want[k] for k in ("steps", "samples", "selected")
            }, where
            assert len(got["history"]) == len(want["history"]), where
            for row, row_alone in zip(got["history"], want["history"], strict=True):
                assert row == pytest.approx(row_alone, rel=1e-4, abs=1e-6), where
            for key, value in got["weights"].items():
                torch.testing.assert_close(value, want["weights"][key], rtol=1e-4, atol=1e-5, msg=f"{where}: {key}")


def test_processes_agree_bit_for_bit(tmp_path):
    """Or they would choose different checkpoints, and stop at different epochs."""
    first, second = together(with_batch_norm, 2, tmp_path)
    assert first["history"] == second["history"]
    for key, value in first["weights"].items():
        assert value.equal(second["weights"][key]), key


def test_what_one_process_finds_not_finite_all_call_diverged(tmp_path):
    for said in together(exploding, 2, tmp_path):
        assert said == "loss term 'far' became inf in epoch 0"


def test_an_optimiser_that_cannot_be_told_of_the_others_is_refused_by_name(tmp_path):
    for said in together(with_an_odd_optimizer, 2, tmp_path):
        assert "OddOptimizer cannot be trained by several processes" in said
        assert "its optimiser 'odd' is a SimpleNamespace" in said


def test_the_first_process_keeps_the_teacher_and_its_signals_and_all_have_them(tmp_path):
    first, second = together(bank, 2, tmp_path)
    assert (first["trained"], second["trained"]) == (1, 1), "all train it, once"
    assert (first["ran_on"], second["ran_on"]) == (ITEMS, 0)
    assert first["same"]
    assert second["same"]
    assert first["logits"].equal(second["logits"]), "the first one's weights"


def test_a_process_that_is_left_alone_says_so_and_does_not_wait(tmp_path):
    said, left = together(lonely, 2, tmp_path)
    assert left == "left"
    assert "a process of this run could not be reached" in said


def test_shares_cover_a_batch_once_and_weigh_by_their_size():
    def peers(rank: int, size: int) -> Peers:
        return Peers(SimpleNamespace(global_rank=rank, world_size=size))  # type: ignore[arg-type]

    for size in (1, 2, 3, 5):
        for items in range(2 * size, 40):
            shares = [peers(rank, size).share(items) for rank in range(size)]
            assert [i for part, _ in shares for i in range(items)[part]] == list(range(items))
            assert sum(weight for _, weight in shares) == pytest.approx(1)
            assert all(weight == len(range(items)[part]) / items for part, weight in shares)
            assert all(len(range(items)[part]) >= 2 for part, _ in shares)
        for items in range(2, 2 * size):
            assert [peers(rank, size).share(items) for rank in range(size)] == [(slice(0, items), 1 / size)] * size
