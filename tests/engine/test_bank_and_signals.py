import multiprocessing

import numpy as np
import pytest
import torch
from torch import nn

from kdbench.engine import signals
from kdbench.engine.bank import TrainedTeacher, get_teacher, teacher_key
from kdbench.engine.signals import LiveTeacher, StoredTeacher, stored_signals
from kdbench.errors import CheckpointError
from kdbench.method import Batch, Needs


class Counting(nn.Module):
    feature_layers = {"stage1": "hidden"}

    def __init__(self):
        super().__init__()
        self.hidden, self.out = nn.Linear(3, 5), nn.Linear(5, 2)
        self.items = 0

    def forward(self, x):
        self.items += len(x)
        return self.out(self.hidden(x))


def trained(module):
    with torch.no_grad():
        module.out.bias.add_(1)
    return TrainedTeacher({"accuracy": 0.5}, np.zeros((4, 2), np.float32))


def never(module):
    raise AssertionError("trained twice")


def test_a_teacher_is_trained_once_and_loaded_afterwards(tmp_path):
    first, second = Counting(), Counting()
    one = get_teacher(tmp_path, "key", "t", first, trained)
    two = get_teacher(tmp_path, "key", "t", second, never)
    assert one.fingerprint == two.fingerprint
    assert second.out.bias.equal(first.out.bias)
    assert two.metrics == {"accuracy": 0.5}
    assert two.seconds == 0


def test_a_training_that_fails_leaves_nothing_in_the_bank(tmp_path):
    with pytest.raises(AssertionError):
        get_teacher(tmp_path, "key", "t", Counting(), never)
    assert get_teacher(tmp_path, "key", "t", Counting(), trained).metrics == {"accuracy": 0.5}


def test_a_damaged_teacher_is_refused_by_path(tmp_path):
    kept = get_teacher(tmp_path, "key", "t", Counting(), trained)
    (kept.directory / "model.safetensors").write_bytes(b"short")
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        get_teacher(tmp_path, "key", "t", Counting(), never)


def _train_slowly(directory, results):
    def train(module):
        results.put("trained")
        return trained(module)

    get_teacher(directory, "key", "t", Counting(), train)


def test_processes_that_ask_at_once_train_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_train_slowly, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert results.get(timeout=5) == "trained"
    assert results.empty()


def test_keys_follow_every_part():
    assert teacher_key("a", 1) == teacher_key("a", 1) != teacher_key("a", 2)


def batch(inputs, index):
    return Batch(inputs[index], inputs[index], torch.zeros(len(index), dtype=torch.long), index, 0.0, 0)


@pytest.mark.parametrize("in_memory", [True, False])
def test_signals_are_computed_once_and_equal_the_teachers_own(tmp_path, monkeypatch, in_memory):
    if not in_memory:
        monkeypatch.setattr(signals, "IN_MEMORY_BYTES", 0)
    teacher, inputs = Counting().eval(), torch.randn(1100, 3)
    stored, ran_on = stored_signals(teacher, "t", inputs, ("stage1",), tmp_path)
    assert ran_on == teacher.items == 1100
    again, ran_again = stored_signals(teacher, "t", inputs, ("stage1", "last"), tmp_path)
    assert ran_again == 0, "'last' is the same module as 'stage1'"
    assert teacher.items == 1100
    index = torch.tensor([7, 1099, 3])
    outputs = StoredTeacher(teacher, again, ran_again).outputs(batch(inputs, index))
    torch.testing.assert_close(outputs.logits, teacher(inputs[index]))
    torch.testing.assert_close(outputs.features["stage1"], teacher.hidden(inputs[index]))
    torch.testing.assert_close(outputs.features["last"], stored["stage1"][index])


def test_another_signal_is_added_without_the_first(tmp_path):
    teacher, inputs = Counting().eval(), torch.randn(10, 3)
    stored_signals(teacher, "t", inputs, (), tmp_path)
    stored, ran_on = stored_signals(teacher, "t", inputs, ("stage1",), tmp_path)
    assert ran_on == 10
    torch.testing.assert_close(stored["stage1"], teacher.hidden(inputs))


def test_what_other_methods_will_ask_for_is_kept_in_the_same_pass(tmp_path):
    teacher, inputs = Counting().eval(), torch.randn(10, 3)
    _, ran_on = stored_signals(teacher, "t", inputs, (), tmp_path, lambda: ("last", "stage1", "no such layer"))
    stored, again = stored_signals(teacher, "t", inputs, ("stage1",), tmp_path)
    assert (ran_on, again, teacher.items) == (10, 0, 10)
    torch.testing.assert_close(stored["stage1"], teacher.hidden(inputs))


def test_what_other_methods_need_is_left_out_where_there_is_no_room(tmp_path, monkeypatch):
    teacher, inputs = Counting().eval(), torch.randn(10, 3)
    monkeypatch.setattr(signals, "ON_DISK_BYTES", teacher(inputs).nbytes)
    _, ran_on = stored_signals(teacher, "t", inputs, (), tmp_path, lambda: ("stage1",))
    assert ran_on == 10
    assert [file.name for file in tmp_path.glob("*.npy")] == ["logits.npy"]


def test_signals_that_would_fill_the_disk_are_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(signals, "ON_DISK_BYTES", 10)
    assert stored_signals(Counting(), "t", torch.randn(10, 3), (), tmp_path) is None
    assert not list(tmp_path.glob("*.npy")) + list(tmp_path.glob("*.part"))


def test_a_live_teacher_gives_gradients_at_the_input_only_where_they_are_needed():
    teacher, inputs = Counting(), torch.randn(4, 3)
    index = torch.arange(4)
    plain = LiveTeacher(teacher, Needs(logits=True), "t", trains=False).outputs(batch(inputs, index))
    assert not plain.logits.requires_grad
    live = LiveTeacher(teacher, Needs(logits=True, input_grad=True), "t", trains=False)
    outputs = live.outputs(batch(inputs, index))
    (gradient,) = torch.autograd.grad(outputs.logits.sum(), outputs.inputs)
    assert gradient.shape == inputs.shape
    assert live.forward_samples == 4


def test_a_frozen_teachers_features_can_be_differentiated_at_without_gradients_at_the_students_inputs():
    teacher, inputs = Counting().requires_grad_(False), torch.randn(4, 3)
    needs = Needs(teacher_features=("stage1",), feature_grad=True)
    seen = batch(inputs, torch.arange(4))
    outputs = LiveTeacher(teacher, needs, "t", trains=False).outputs(seen)
    (gradient,) = torch.autograd.grad(outputs.logits[:, 1].sum(), outputs.features["stage1"])
    assert gradient.equal(teacher.out.weight[1].expand(4, -1))
    assert not seen.inputs.requires_grad
