"""What a benchmark changes about the machine while it measures is taken back."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.measure import cpu_mask, pinned, workers_pinned


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return what stands for the kernel's file, on a machine of two cores."""
    file = tmp_path / "cpumask"
    file.write_text("3\n")
    monkeypatch.setattr(measure, "WORKERS", file)
    return file


def test_the_kernels_workers_are_where_the_benchmark_is(workers: Path) -> None:
    with pinned(), workers_pinned() as are_pinned:
        assert are_pinned
        (core,) = os.sched_getaffinity(0)
        assert workers.read_text() == cpu_mask(1 << core)
    assert workers.read_text() == "3\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_they_are_let_go_however_it_ends(workers: Path, number: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises((KeyboardInterrupt, SystemExit)), workers_pinned():
        signal.raise_signal(number)
    assert workers.read_text() == "3\n"
    assert signal.getsignal(signal.SIGTERM) is before


def test_who_may_not_pin_them_is_told(workers: Path) -> None:
    workers.unlink()
    with workers_pinned() as are_pinned:
        assert not are_pinned


@pytest.mark.parametrize(
    ("core", "mask"), [(0, "00000001"), (31, "80000000"), (64, "00000001,00000000,00000000")]
)
def test_a_mask_is_written_in_words_of_32_cores(core: int, mask: str) -> None:
    assert cpu_mask(1 << core) == mask
