"""Methods, data and models that do what none should; named on the command line as misbehaving:NAME."""

import os
import time

import numpy as np
from torch import nn

import kdbench
from kdbench.preparation import tell


class ReturnsNaN(kdbench.Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits) * float("nan")


class ReturnsVector(kdbench.Method):
    def loss(self, batch, student, teacher):
        return student.logits.sum(1)


class ReturnsNumber(kdbench.Method):
    def loss(self, batch, student, teacher):
        return {"ce": 1.0}


class WithoutGradient(kdbench.Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits.detach())


class RaisesLater(kdbench.Method):
    def loss(self, batch, student, teacher):
        if batch.epoch == 1 and batch.progress > 0.3:
            raise ValueError("no more")
        return batch.cross_entropy(student.logits)


class ReadsUndeclared(kdbench.Method):
    def loss(self, batch, student, teacher):
        return kdbench.kernels.kd_kl(student.logits, teacher.logits)


class OutOfMemory(kdbench.Method):
    def loss(self, batch, student, teacher):
        raise MemoryError


class Killed(kdbench.Method):
    def loss(self, batch, student, teacher):
        os.kill(os.getpid(), 9)


class Exits(kdbench.Method):
    def loss(self, batch, student, teacher):
        print("goodbye")
        os._exit(3)


class Hangs(kdbench.Method):
    def loss(self, batch, student, teacher):
        time.sleep(10_000)


class HangsLater(kdbench.Method):
    def loss(self, batch, student, teacher):
        if batch.epoch == 1:
            time.sleep(10_000)
        return batch.cross_entropy(student.logits)


def in_the_second_process() -> bool:
    return os.environ.get("LOCAL_RANK") == "1"


class SecondKilled(kdbench.Method):
    def loss(self, batch, student, teacher):
        if in_the_second_process() and batch.epoch == 1:
            os.kill(os.getpid(), 9)
        return batch.cross_entropy(student.logits)


class SecondRaises(kdbench.Method):
    def loss(self, batch, student, teacher):
        if in_the_second_process() and batch.epoch == 1:
            raise ValueError("no more")
        return batch.cross_entropy(student.logits)


class SecondExits(kdbench.Method):
    def loss(self, batch, student, teacher):
        if in_the_second_process() and batch.epoch == 1:
            print("goodbye")
            os._exit(3)
        return batch.cross_entropy(student.logits)


class SecondHangs(kdbench.Method):
    def loss(self, batch, student, teacher):
        if in_the_second_process():
            time.sleep(10_000)
        return batch.cross_entropy(student.logits)


class SecondReturnsNaN(kdbench.Method):
    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits) * (float("nan") if in_the_second_process() else 1.0)


class FirstRaises(kdbench.Method):
    def loss(self, batch, student, teacher):
        if not in_the_second_process() and batch.epoch == 1:
            raise ValueError("no more")
        return batch.cross_entropy(student.logits)


class TakesOver(kdbench.Method):
    def fit(self, trainer):
        trainer.run_epochs()


class TakesOverTogether(TakesOver):
    parallel_fit = True

    def loss(self, batch, student, teacher):
        return batch.cross_entropy(student.logits)


def one_class():
    return kdbench.Data(np.eye(8), np.zeros(8, dtype=int), ["a", "b"])


def nan():
    inputs = np.random.default_rng(0).normal(size=(40, 3))
    inputs[3, 1] = np.nan
    return kdbench.Data(inputs, np.arange(40) % 2, ["a", "b"])


def out_of_range():
    return kdbench.Data(np.eye(8), np.full(8, 7), ["a", "b"])


def few():
    return kdbench.Data(np.eye(6), np.arange(6) % 2, ["a", "b"])


def broken():
    raise RuntimeError("the factory broke")


def wrong_classes(info):
    return nn.Sequential(nn.Flatten(), nn.Linear(info.input_shape[0], info.num_classes + 1))


def wrong_shape(info):
    return nn.Sequential(nn.Flatten(), nn.Linear(info.input_shape[0] + 1, info.num_classes))


def slow_to_prepare():
    """Says twice how far it is, as the reading of a large dataset does."""
    for share in ("half", "all"):
        tell(f"slow: {share}")
    return kdbench.Data(np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2, ["a", "b"])
