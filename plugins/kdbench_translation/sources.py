"""The archives of the parallel texts."""

import kdbench

HELP = tuple(
    kdbench.Source(
        "apt", f"libreoffice-help-{package}", "4:7.4.7-1+deb12u14", sha256=sha256, size=size, licence="MPL-2.0",
        files=(f"usr/share/libreoffice/help/{language}/text/*.html",),
    )
    for package, language, size, sha256 in (
        ("en-us", "en-US", 1753504, "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712"),
        ("zh-cn", "zh-CN", 3435780, "db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee"),
    )
)  # fmt: skip
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
