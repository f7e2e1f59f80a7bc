"""The archive of the trivia lists."""

from kdbench import Source

TRIVIA = Source(
    "pypi", "red-discordbot", "3.5.24",
    sha256="3cbdbdd8bb0b6dbab1f5f909151f12dcd40798b06df8beb791fd22b9e1b2c8bd",
    files=("redbot/cogs/trivia/data/lists/*.yaml",), size=5_970_180, licence="GPL-3.0",
)  # fmt: skip
