import contextlib
import os
import pickle
import random

import pytest
import torch
from torch import nn

from kdbench.engine.checkpoints import load_weights, save_weights, weights_fingerprint
from kdbench.errors import CheckpointError


def network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))


def same(first, second):
    return all(value.equal(second.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "wrapped"])
def test_weights_that_were_saved_are_loaded(tmp_path, kind):
    saved, loaded = network(), network()
    path = tmp_path / ("model.safetensors" if kind == "safetensors" else "model.pt")
    if kind == "safetensors":
        save_weights(saved, path)
    else:
        torch.save({"state_dict": saved.state_dict()} if kind == "wrapped" else saved.state_dict(), path)
    load_weights(loaded, path, "net")
    assert same(saved, loaded)
    assert weights_fingerprint(saved) == weights_fingerprint(loaded)


def test_the_fingerprint_follows_every_parameter_and_buffer():
    model = network()
    before = weights_fingerprint(model)
    model[1].running_mean[0] += 1
    assert weights_fingerprint(model) != before


def refused(model, path):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_weights(model, path, "net")
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_checkpoint_is_refused(tmp_path):
    assert "does not exist" in refused(network(), tmp_path / "none.safetensors")


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_checkpoint_is_refused(tmp_path, name, share):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_weights(network(64), path)
    else:
        torch.save(network(64).state_dict(), path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "cannot be read" in refused(network(64), path) or "was refused" in refused(network(64), path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_checkpoint_of_another_architecture_is_refused_and_says_what_differs(tmp_path, name):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_weights(network(8), path)
    else:
        torch.save(network(8).state_dict(), path)
    message = refused(network(4), path)
    assert "is not of model 'net'" in message
    assert "0.weight" in message


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_its_code_does_not_run(tmp_path, how):
    path, trace = tmp_path / "model.pt", tmp_path / "the code ran"
    if how == "torch":
        torch.save({"weight": Malicious(trace)}, path)
    else:
        path.write_bytes(pickle.dumps(Malicious(trace)))
    message = refused(network(), path)
    assert "was refused" in message
    assert "weights_only" not in message, "torch's advice to load it all the same is not passed on"
    assert not trace.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_checkpoint_is_refused_wherever_its_reader_stumbles(tmp_path, zipped):
    """A hundred copies, cut off or with a few bytes changed: read, or refused by name, and nothing else."""
    path, chance = tmp_path / "model.pt", random.Random(0)
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    read = 0
    for _ in range(100):
        damaged = bytearray(whole[: chance.randrange(1, len(whole))] if chance.random() < 0.5 else whole)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(CheckpointError):
            load_weights(network(), path, "net")
            read += 1
    assert read <= 60


def test_a_file_that_holds_no_state_dict_is_refused(tmp_path):
    torch.save([1, 2, 3], tmp_path / "list.pt")
    assert "holds no state dict" in refused(network(), tmp_path / "list.pt")
