"""The names by which methods ask for the layers of a transformer."""

from __future__ import annotations

PARTS = ("query", "key", "value")


def transformer_layers(count: int, block: str, attention: str, embeddings: str = "embeddings") -> dict[str, str]:
    """`feature_layers` of a transformer of `count` blocks whose classifier is `fc`, by module path.

    `stage1`..., each block's `query1`, `key1`, `value1`..., those of the last block also as `query`, `key` and `value`,
    `embeddings`, and `penultimate`, which `fc` reads.

    Args:
        block: the path of a block, with `{}` for its number from 0.
        attention: that of the module which has the block's query, key and value, likewise.
        embeddings: that of what the first block reads.
    """
    return (
        {f"stage{n + 1}": block.format(n) for n in range(count)}
        | {f"{part}{n + 1}": f"{attention.format(n)}.{part}" for n in range(count) for part in PARTS}
        | {part: f"{attention.format(count - 1)}.{part}" for part in PARTS}
        | {"embeddings": embeddings, "penultimate": "fc:input"}
    )
