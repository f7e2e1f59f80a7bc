"""Methods that do what no method should; named on the command line as misbehaving:NAME."""

import os
import time

import kdbench


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
