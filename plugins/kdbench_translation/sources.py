"""The archives of the parallel texts."""

import kdbench
from kdbench_text.sources import HELP_EN, HELP_ZH

HELP = (HELP_EN, HELP_ZH)
BIBLES = tuple(
    kdbench.Source(
        "apt", f"sword-text-{name}", version, sha256=sha256, size=size, licence="public domain",
        files=("usr/share/sword/*",),
    )
    for name, version, size, sha256 in (
        ("kjv", "14.3-1", 2800476, "9f463f28ce665f6f528fc723179722bced880a4c5485f7a41bf742838315de57"),
        ("sparv", "2.60-1", 2722332, "5c87f9b2bc97457e8a872f5bae7ea7ce59cb3de1dcee73e4d4740451863694cf"),
    )
)  # fmt: skip
