"""The entry module: what it registers, and what it does not import."""

from __future__ import annotations

import importlib

import kdbench_models


def registrations(hook) -> dict[str, tuple[str, dict]]:
    registered = {}

    def register(name, target, **metadata):
        assert name not in registered
        registered[name] = (target, metadata)

    hook(register)
    return registered


def test_every_architecture_is_a_student_and_a_teacher():
    students = registrations(kdbench_models.kdbench_register_students)
    assert students == registrations(kdbench_models.kdbench_register_teachers)
    assert {"linear", "mlp-s", "cnn-l", "resnet8x4", "wrn-40-2", "vgg13", "mobilenetv2"} <= students.keys()


def test_every_target_can_be_imported_and_called():
    for target, _ in registrations(kdbench_models.kdbench_register_students).values():
        module, attribute = target.split(":")
        assert callable(getattr(importlib.import_module(module), attribute))


def test_schemes_name_the_library_they_need():
    students = registrations(kdbench_models.kdbench_register_students)
    for library in ("timm", "transformers"):
        metadata = students[library][1]
        assert (metadata["scheme"], metadata["requires"], metadata["extra"]) == (True, (library,), library)
