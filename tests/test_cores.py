import os

import pytest

from kdbench.cores import threads_of


@pytest.fixture
def eight_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_processes_share_the_cores_and_each_has_a_thread(eight_cores):
    assert [threads_of(processes) for processes in (1, 2, 3, 8, 9)] == [8, 4, 2, 1, 1]


@pytest.mark.parametrize(
    ("said", "threads"), [("1", 1), ("3", 3), (" 2 ", 2), ("2,4", 2), ("16", 4), ("0", 4), ("", 4), ("many", 4)]
)
def test_no_process_has_more_threads_than_omp_num_threads_says(eight_cores, monkeypatch, said, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads_of(2) == threads
