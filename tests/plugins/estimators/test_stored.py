"""Estimators from files: skops, ONNX, Keras, Lightning; what would run code is refused."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys

import joblib
import numpy as np
import pytest
import skops.io
import torch
from sklearn import ensemble, linear_model
from sklearn.datasets import load_iris

import kdbench
from kdbench.engine.checkpoints import load_weights, save_weights
from kdbench_estimators.keras import keras_file
from kdbench_estimators.lightning import checkpoint
from kdbench_estimators.onnx import onnx_file
from kdbench_estimators.stored import skops_file

X, Y = load_iris(return_X_y=True)
X = X.astype(np.float32)
INFO = kdbench.DatasetInfo("iris", "multiclass", 3, (4,), 150)
LIGHTNING = ("lightning==2.6.6", "torchmetrics==1.9.0")
"""Installed apart: Fabric imports torchmetrics, which takes seconds, in every process that can."""


def test_a_skops_file_answers_as_the_estimator(tmp_path):
    fitted = linear_model.LogisticRegression(max_iter=500).fit(X, Y)
    skops.io.dump(fitted, tmp_path / "model.skops")
    teacher = skops_file(f"{tmp_path}/model.skops", INFO)
    np.testing.assert_allclose(teacher(torch.from_numpy(X)).exp(), np.maximum(fitted.predict_proba(X), 1e-6), rtol=1e-5)


def test_types_that_skops_does_not_vouch_for_need_to_be_trusted_by_name(tmp_path):
    skops.io.dump(ensemble.RandomForestClassifier(2).fit(X, Y), tmp_path / "model.skops")
    with pytest.raises(kdbench.ModelMismatch, match=r"not trusted: sklearn\.tree\._tree\.Tree"):
        skops_file(f"{tmp_path}/model.skops", INFO)
    teacher = skops_file(f"{tmp_path}/model.skops?trust=sklearn.tree._tree.Tree", INFO)
    assert teacher(torch.from_numpy(X)).argmax(1).float().sub(torch.from_numpy(Y)).abs().mean() < 0.1


@pytest.mark.parametrize("write", [joblib.dump, lambda made, path: path.write_bytes(pickle.dumps(made))])
def test_a_pickle_is_refused_unread(tmp_path, write):
    path = tmp_path / "model.pkl"
    write(Trap(tmp_path / "ran"), path)
    with pytest.raises(kdbench.ModelMismatch, match=r"no file of skops[^$]*runs whatever code"):
        skops_file(str(path), INFO)
    assert not (tmp_path / "ran").exists()


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


def test_damaged_missing_unfitted_and_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "model.skops"
    with pytest.raises(kdbench.ModelMismatch, match="no file"):
        skops_file(str(path), INFO)
    skops.io.dump(linear_model.LogisticRegression(), path)
    with pytest.raises(kdbench.ModelMismatch, match="not fitted"):
        skops_file(str(path), INFO)
    skops.io.dump(linear_model.LogisticRegression().fit(X, np.array(["a", "b", "c"])[Y]), path)
    with pytest.raises(kdbench.ModelMismatch, match="its own: 'a', 'b', 'c'"):
        skops_file(str(path), INFO)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"__class__"', b'"__klass__"'))
    with pytest.raises(kdbench.ModelMismatch, match="cannot be read"):
        skops_file(str(path), INFO)


# An ONNX file by hand: messages of protobuf, field by field, so that no exporter is needed.
def field(number, value):
    if isinstance(value, int):
        return bytes([number << 3]) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return bytes([number << 3 | 2]) + varint(len(data)) + data


def varint(value):
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def tensor(name, array):
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, 1) + field(8, name) + field(9, struct.pack(f"<{array.size}f", *array.ravel()))


def value_info(name, *dims):
    shape = b"".join(field(1, field(2, dim) if isinstance(dim, str) else field(1, dim)) for dim in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def onnx_model(weight, bias, outputs=("probabilities",)):
    """softmax(x W + b); both `logits` and `probabilities` can be outputs."""
    gemm = field(1, "x") + field(1, "W") + field(1, "b") + field(2, "logits") + field(4, "Gemm")
    soft = field(1, "logits") + field(2, "probabilities") + field(4, "Softmax")
    nodes = field(1, gemm) + field(1, soft)
    graph = nodes + field(2, "g") + field(5, tensor("W", weight)) + field(5, tensor("b", bias))
    graph += field(11, value_info("x", "N", weight.shape[0]))
    graph += b"".join(field(12, value_info(name, "N", weight.shape[1])) for name in outputs)
    return field(1, 8) + field(7, graph) + field(8, field(2, 13))


@pytest.fixture(scope="module")
def onnx_parts():
    pytest.importorskip("onnxruntime")
    stream = np.random.default_rng(0)
    return stream.normal(size=(4, 3)).astype(np.float32), stream.normal(size=3).astype(np.float32)


@pytest.mark.parametrize("options", ["", "?output=logits&name=logits", "?name=probabilities"])
def test_an_onnx_file_answers_as_its_graph(tmp_path, onnx_parts, options):
    weight, bias = onnx_parts
    outputs = ("logits", "probabilities") if options else ("probabilities",)
    (tmp_path / "model.onnx").write_bytes(onnx_model(weight, bias, outputs))
    teacher = onnx_file(f"{tmp_path}/model.onnx{options}", INFO)
    expected = torch.from_numpy(X @ weight + bias).double().softmax(1)
    torch.testing.assert_close(teacher(torch.from_numpy(X)).double().softmax(1), expected, atol=2e-6, rtol=0)
    save_weights(teacher, tmp_path / "kept.safetensors")
    loaded = onnx_file(f"{tmp_path}/model.onnx{options}", INFO)
    load_weights(loaded, tmp_path / "kept.safetensors", "onnx")
    assert loaded(torch.from_numpy(X)).equal(teacher(torch.from_numpy(X)))


def test_onnx_files_that_do_not_fit_are_refused_by_name(tmp_path, onnx_parts):
    weight, bias = onnx_parts
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(kdbench.ModelMismatch, match="cannot be read"):
        onnx_file(str(path), INFO)
    path.write_bytes(onnx_model(weight, bias, ("logits", "probabilities")))
    with pytest.raises(kdbench.ModelMismatch, match="2 outputs to choose from"):
        onnx_file(str(path), INFO)
    with pytest.raises(kdbench.ModelMismatch, match="gives no probabilities"):
        onnx_file(f"{path}?name=logits", INFO)(torch.from_numpy(X))
    with pytest.raises(kdbench.ModelMismatch, match=r"answered \(150, 3\) for 150 items of 4 classes"):
        onnx_file(f"{path}?name=probabilities", kdbench.DatasetInfo("i", "multiclass", 4, (4,), 9))(torch.from_numpy(X))
    with pytest.raises(kdbench.ModelMismatch, match=r"cannot take inputs \(150, 3\)"):
        onnx_file(f"{path}?name=probabilities", INFO)(torch.from_numpy(X[:, :3]))
    with pytest.raises(kdbench.InvalidParameter, match="no setting 'outputs'"):
        onnx_file(f"{path}?outputs=logits", INFO)


def test_a_keras_file_answers_as_its_model_with_channels_last(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")  # before it is first imported
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("Keras was imported on another back end")
    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential([layers.Input((4, 3, 1)), layers.Conv2D(2, 2), layers.Flatten(), layers.Dense(3)])
    model.save(tmp_path / "model.keras")
    images = torch.randn(6, 1, 4, 3)
    info = kdbench.DatasetInfo("images", "multiclass", 3, (1, 4, 3), 6)
    teacher = keras_file(f"{tmp_path}/model.keras?output=logits", info)
    expected = torch.from_numpy(model.predict(images.permute(0, 2, 3, 1).numpy(), verbose=0)).softmax(1)
    torch.testing.assert_close(teacher(images).softmax(1), expected, atol=2e-6, rtol=1e-4)
    assert sum(parameter.numel() for parameter in teacher.parameters()) == model.count_params()
    save_weights(teacher, tmp_path / "kept.safetensors")
    load_weights(teacher, tmp_path / "kept.safetensors", "keras")
    with pytest.raises(kdbench.ModelMismatch, match="gives no probabilities"):
        keras_file(f"{tmp_path}/model.keras", info)(images)
    (tmp_path / "model.keras").write_bytes(b"no model")
    with pytest.raises(kdbench.ModelMismatch, match="cannot be read"):
        keras_file(f"{tmp_path}/model.keras", info)


class Net(torch.nn.Module):
    def __init__(self, width: int = 2):
        super().__init__()
        self.body, self.head = torch.nn.Linear(4, width), torch.nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


def write_checkpoint(path, width, **more):
    made = Net(width)
    torch.save({"state_dict": made.state_dict(), "hyper_parameters": {"width": width, "lr": 0.1}, **more}, path)
    return made


def test_a_lightning_checkpoint_makes_its_class_with_its_hyper_parameters(tmp_path):
    made = write_checkpoint(tmp_path / "last.ckpt", 7)
    teacher = checkpoint(f"test_stored:Net?ckpt={tmp_path}/last.ckpt", INFO)
    assert teacher(torch.from_numpy(X)).equal(made(torch.from_numpy(X)))


LIGHTNING_SCRIPT = """
import sys
import lightning
import torch
import kdbench
from kdbench_estimators.lightning import checkpoint


class Module(lightning.LightningModule):
    def __init__(self, width: int = 2):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Linear(4, width)
        self.head = torch.nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.net(x))


made = Module(5)
trainer = lightning.Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", barebones=True)
trainer.strategy.connect(made)
trainer.save_checkpoint("last.ckpt")
info = kdbench.DatasetInfo("iris", "multiclass", 3, (4,), 150)
teacher = checkpoint("__main__:Module?ckpt=last.ckpt", info)
x = torch.randn(9, 4)
print("equal" if teacher is not made and teacher(x).equal(made(x)) else "different")
"""


def test_a_checkpoint_of_a_real_lightning_module_is_read(tmp_path):
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "apart")]
    installed = subprocess.run([*install, *LIGHTNING], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"Lightning cannot be installed here: {installed.stderr.strip().splitlines()[-1:]}")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path / "apart"), *filter(None, sys.path)])}
    ran = subprocess.run(
        [sys.executable, "-c", LIGHTNING_SCRIPT], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert ran.stdout.splitlines()[-1:] == ["equal"], ran.stderr


def test_checkpoints_that_run_code_or_do_not_fit_are_refused_by_name(tmp_path):
    path = tmp_path / "last.ckpt"
    with pytest.raises(kdbench.InvalidParameter, match="names no checkpoint"):
        checkpoint("test_stored:Net", INFO)
    write_checkpoint(path, 3, trap=Trap(tmp_path / "ran"))
    with pytest.raises(kdbench.ModelMismatch, match="cannot be read without running code"):
        checkpoint(f"test_stored:Net?ckpt={path}", INFO)
    assert not (tmp_path / "ran").exists()
    write_checkpoint(path, 3, hyper_parameters={"width": 4})
    with pytest.raises(kdbench.ModelMismatch, match="does not fit test_stored:Net"):
        checkpoint(f"test_stored:Net?ckpt={path}", INFO)
    with pytest.raises(kdbench.InvalidParameter, match="NoNet"):
        checkpoint(f"test_stored:NoNet?ckpt={path}", INFO)
