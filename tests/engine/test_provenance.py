"""The facts that a record keeps about where it was made."""

import subprocess
import sys
from importlib.metadata import version

import torch

from kdbench.engine import provenance as module
from kdbench.engine.provenance import provenance
from kdbench.version import __version__


def facts(**changes):
    given = dict(
        plugins={"mine": "1.0"}, device="cpu", workers=2, deterministic=True, kernel_backend="torch",
        dataset_fingerprint="d", teacher_fingerprint="t", command="kdbench run x",
    )  # fmt: skip
    return provenance(**(given | changes))


def test_it_names_this_processs_versions_and_hardware():
    found = facts()
    assert found.kdbench == __version__
    assert found.libraries["torch"] == version("torch")
    assert found.libraries["scikit-learn"] == version("scikit-learn")
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.threads == torch.get_num_threads()
    assert found.cpu
    assert found.platform


def test_it_keeps_what_the_run_says_of_itself():
    found = facts(workers=3, deterministic=False)
    assert found.plugins == {"mine": "1.0"}
    assert (found.device, found.workers, found.deterministic) == ("cpu", 3, False)
    assert (found.dataset_fingerprint, found.teacher_fingerprint) == ("d", "t")
    assert found.command == "kdbench run x"


def repository(path, *, change=False):
    for arguments in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "one"),
    ):
        subprocess.run(["git", "-C", str(path), *arguments], check=True)
    (path / "file").write_text("one")
    subprocess.run(["git", "-C", str(path), "add", "file"], check=True)
    if not change:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", "-C", str(path), *identity, "commit", "-q", "-m", "two"], check=True)
    return subprocess.run(["git", "-C", str(path), "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()


def commit_seen_from(path, monkeypatch):
    module._git_commit.cache_clear()
    monkeypatch.setattr(module, "_SOURCE", path)
    try:
        return module._git_commit()
    finally:
        module._git_commit.cache_clear()


def test_the_commit_of_a_clean_checkout(tmp_path, monkeypatch):
    assert commit_seen_from(tmp_path, monkeypatch) is None
    commit = repository(tmp_path)
    assert commit_seen_from(tmp_path, monkeypatch) == commit


def test_a_changed_checkout_says_so(tmp_path, monkeypatch):
    commit = repository(tmp_path, change=True)
    assert commit_seen_from(tmp_path, monkeypatch) == f"{commit}+changes"


def test_an_installed_kdbench_names_the_commit_that_it_was_built_from(tmp_path, monkeypatch):
    (tmp_path / "commit.txt").write_text("0123abc\n")
    monkeypatch.setattr(module, "_BUILT_FROM", tmp_path / "commit.txt")
    assert commit_seen_from(tmp_path, monkeypatch) == "0123abc"


def test_without_git_there_is_no_commit_and_no_failure(tmp_path, monkeypatch):
    repository(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit_seen_from(tmp_path, monkeypatch) is None
