"""Where Tiny-ImageNet and ImageNet are on the hub; their commits are not known here: what came first is kept to."""

from kdbench import Source

LICENCE = "ImageNet's terms: non-commercial research and education"
FILES = ("README.md", "*.parquet")

TINY_IMAGENET = Source("datasets", "zh-plus/tiny-imagenet", "main", files=FILES, licence=LICENCE)
IMAGENET = Source("datasets", "ILSVRC/imagenet-1k", "main", files=FILES, licence=LICENCE, login=True)
