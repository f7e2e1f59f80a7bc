"""Parameter counts at 3x32x32 and 100 classes, the setting of the distillation papers' tables."""

from __future__ import annotations

import pytest

import kdbench_models

PUBLISHED = {
    "resnet8x4": 1_233_540,
    "resnet20": 278_324,
    "resnet32": 472_756,
    "resnet32x4": 7_433_860,
    "resnet56": 861_620,
    "resnet110": 1_736_564,
    "resnet18": 11_220_132,
    "resnet34": 21_328_292,
    "resnet50": 23_705_252,
    "wrn-16-2": 703_284,
    "wrn-40-1": 569_780,
    "wrn-40-2": 2_255_156,
    "vgg8": 3_965_028,
    "vgg13": 9_462_180,
    "mobilenetv2": 812_836,
    "shufflenetv1": 949_258,
    "shufflenetv2": 1_355_528,
}


ON_IMAGENET = {
    "imagenet-resnet18": 11_689_512,
    "imagenet-resnet34": 21_797_672,
    "imagenet-resnet50": 25_557_032,
    "imagenet-mobilenetv1": 4_231_976,
}


def count(model) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("architecture", "expected"), PUBLISHED.items(), ids=PUBLISHED)
def test_parameter_count_is_the_published_one(build, architecture, expected):
    assert count(build(architecture, (3, 32, 32), 100)) == expected


@pytest.mark.parametrize(("architecture", "expected"), ON_IMAGENET.items(), ids=ON_IMAGENET)
def test_parameter_count_on_imagenet_is_the_published_one(build, architecture, expected):
    assert count(build(architecture, (3, 224, 224), 1000)) == expected


def test_listing_states_the_parameter_count(build, name):
    stated = {n: params for family in kdbench_models.FAMILIES for n, params in family.params.items()}
    assert f"{count(build(name, (3, 32, 32), 100)) / 1e6:.2f}M" == stated[name]


def conv(inputs: int, outputs: int, kernel: int = 3) -> int:
    return inputs * outputs * kernel**2


def batch_norm(width: int) -> int:
    return 2 * width


@pytest.mark.parametrize("depth", [8, 14, 20, 32, 44, 56, 110])
def test_cifar_resnets_follow_the_papers_arithmetic(build, depth):
    blocks, expected = (depth - 2) // 6, conv(3, 16) + batch_norm(16) + 64 * 100 + 100
    for inputs, width in ((16, 16), (16, 32), (32, 64)):
        expected += conv(inputs, width) + (2 * blocks - 1) * conv(width, width) + 2 * blocks * batch_norm(width)
        expected += (conv(inputs, width, 1) + batch_norm(width)) * (inputs != width)
    assert count(build(f"resnet{depth}", (3, 32, 32), 100)) == expected


@pytest.mark.parametrize(("depth", "widening"), [(16, 1), (16, 2), (40, 1), (40, 2)])
def test_wide_resnets_follow_the_papers_arithmetic(build, depth, widening):
    blocks, inputs, expected = (depth - 4) // 6, 16, conv(3, 16)
    for width in (16 * widening, 32 * widening, 64 * widening):
        expected += conv(inputs, width) + (2 * blocks - 1) * conv(width, width)
        expected += conv(inputs, width, 1) * (inputs != width)
        expected += batch_norm(inputs) + (2 * blocks - 1) * batch_norm(width)
        inputs = width
    expected += batch_norm(inputs) + inputs * 100 + 100
    assert count(build(f"wrn-{depth}-{widening}", (3, 32, 32), 100)) == expected


@pytest.mark.parametrize(
    ("architecture", "convolutions"),
    [
        ("vgg8", [64, 128, 256, 512, 512]),
        ("vgg11", [64, 128, 256, 256, 512, 512, 512, 512]),
        ("vgg13", [64, 64, 128, 128, 256, 256, 512, 512, 512, 512]),
    ],
)
def test_vgg_follows_the_papers_table(build, architecture, convolutions):
    pairs = zip([3, *convolutions], convolutions, strict=False)
    expected = sum(conv(i, o) + o + batch_norm(o) for i, o in pairs) + 512 * 100 + 100
    assert count(build(architecture, (3, 32, 32), 100)) == expected


@pytest.mark.parametrize(("architecture", "least", "most"), [("cnn-s", 5e3, 10e3), ("cnn-l", 300e3, 600e3)])
def test_small_cnns_are_of_the_size_they_promise(build, architecture, least, most):
    assert least <= count(build(architecture, (1, 8, 8))) <= count(build(architecture, (3, 32, 32), 100)) <= most
