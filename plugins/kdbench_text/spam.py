"""E-mail of SpamAssassin's public corpus: ham or spam, by subject and text alone."""

from __future__ import annotations

import email
import json
import re
from email.message import Message
from html import unescape
from pathlib import Path

import kdbench
from kdbench_text import tokens

NAME = "spam-assassin"
LENGTH = 128
CLASSES = ("ham", "spam")
FOLDERS = {"easy-ham-1": 0, "easy-ham-2": 0, "hard-ham-1": 0, "spam-1": 1, "spam-2": 1}
_HIDDEN = re.compile(r"(?is)<(script|style)\b.*?</\1\s*>|<!--.*?-->")
_TAG = re.compile(r"(?s)<[^>]*>")
_REPLY = re.compile(r"(?i)^(\s*((re|fwd?|aw)(\[\d+\])?:|\[[^\]]*\]))+")


def messages(directory: Path) -> tuple[list[str], list[int], list[str]]:
    """Texts (subject and body), classes and groups of the folders' JSON files.

    A group is a subject without its "Re:" and list names: answers quote what they answer. Headers but the subject are
    left out, which tell the collection a message came from. One of each text is kept, none of a text in both classes.
    Raises: DataNotAvailable, InvalidData.
    """
    texts, labels, threads, places = [], [], [], []
    for folder, label in FOLDERS.items():
        paths = sorted((directory / folder).glob("*.json"))
        if not paths:
            raise kdbench.DataNotAvailable(
                f"dataset {NAME!r} is not complete", f"{directory / folder} holds no .json file",
                "kdbench data fetch spam-assassin",
            )  # fmt: skip
        for path in paths:
            place = f"{folder}/{path.name}"
            subject, text = _read(path, place, folder)
            texts.append(f"{subject}\n{text}")
            labels.append(label)
            threads.append(tokens.plain(_REPLY.sub("", subject)) or place)
            places.append(place)
    tokens.check_texts(NAME, zip(places, texts, strict=True))
    kept = tokens.one_of_each([" ".join(tokens.plain(text).split()[:LENGTH]) for text in texts], labels)
    return [texts[n] for n in kept], [labels[n] for n in kept], [threads[n] for n in kept]


def _read(path: Path, place: str, folder: str) -> tuple[str, str]:
    try:
        row = json.loads(tokens.decoded(NAME, path.read_bytes(), place))
        group, raw = row["group"], row["text"]
    except (ValueError, KeyError, TypeError) as error:
        raise kdbench.InvalidData(
            f"dataset {NAME!r}: {place} is not one of its messages",
            f"{type(error).__name__}: {error}; a JSON object with 'group' and 'text' is expected",
            "kdbench data fetch spam-assassin",
        ) from error
    if group != folder:
        raise kdbench.InvalidData(f"dataset {NAME!r}: {place} says that it is of the unknown group {group!r}")
    message = email.message_from_string(raw)
    subject = str(message.get("Subject") or "")
    return subject, "\n".join(_body(part) for part in message.walk() if part.get_content_maintype() == "text")


def _body(part: Message) -> str:
    payload = part.get_payload(decode=True)
    # Mail of 2002 declares encodings that are none, or not its own: what cannot be read becomes a replacement sign.
    text = payload.decode("ascii", errors="replace") if isinstance(payload, bytes) else str(payload)
    return unescape(_TAG.sub(" ", _HIDDEN.sub(" ", text))) if part.get_content_subtype() == "html" else text
