"""Where processes meet, and what is removed afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.place import ALONE, Place, leave, places_for


def test_processes_meet_in_a_private_directory_that_is_removed(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    places = places_for(3)
    assert [(place.rank, place.size) for place in places] == [(0, 3), (1, 3), (2, 3)]
    (meeting,) = {Path(place.meeting) for place in places}
    assert meeting.is_absolute()
    assert meeting.parent.stat().st_mode & 0o077 == 0
    meeting.write_text("met")
    for place in places:
        leave(place)
    assert not list(tmp_path.iterdir())


def test_one_alone_meets_nowhere():
    assert places_for(1) == [ALONE]
    assert ALONE.meeting == ""


@pytest.mark.parametrize("place", [ALONE, Place(0, 1, "meeting"), Place(0, 2, "meeting"), Place(0, 2, "")])
def test_leaving_never_removes_a_directory_that_holds_something(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    leave(place)
    assert (tmp_path / "mine" / "notes.txt").read_text() == "precious"
