"""Every word of a process is documented by an example, which the suite runs as a doctest."""

from __future__ import annotations

import pytest

from gateway.process.aio_process import AsyncProcess
from gateway.process.process import Process

WORDS = [
    "die",
    "ebrake",
    "cleanup",
    "is_active",
    "run_level",
    "poison_pill",
    "start_process",
    "stop_process",
    "restart_process",
    "temporary_folder",
    "send",
    "reply",
    "wait_for_reply",
    "mailman",
    "add_filter",
    "remove_filters",
    "list_filters",
    "publish",
    "subscribe",
    "unsubscribe",
    "declare_will",
    "register_callbacks",
    "callback_event",
    "add_child_thread",
    "launch_threads",
    "child_thread_janitor",
    "join_child_threads",
    "child_threads_alive",
    "remove_child_threads",
    "add_locks",
    "get_locks",
    "bind_signals",
    "signal_trap",
    "backup_signals",
    "restore_signals",
    "current_signals",
    "signal_names",
    "frequency",
    "frequency_sleep",
    "light_sleep",
    "current_frame",
    "current_time_frame",
    "application",
    "parameter",
    "process_names",
    "recipients",
    "active_subprocesses",
    "statistics",
]


ON_LOOPS = ["send_patiently", "ask", "add_child_task", "follow", "open_mailbox", "set_log_level"]
"""Words besides that asyncio processes have alone, or have otherwise."""


@pytest.mark.parametrize("word", [*WORDS, "set_log_level"])
def test_a_word_has_an_example_that_runs(word: str) -> None:
    assert ">>> play(" in getattr(Process, word).__doc__ or word == "ebrake"


def test_a_word_that_is_awaited_on_a_loop_has_an_example_that_runs_there() -> None:
    words = [
        word
        for word, value in vars(AsyncProcess).items()
        if callable(value) and (word in WORDS or word in ON_LOOPS)
    ]
    assert len(words) >= 20
    for word in words:
        doc = getattr(AsyncProcess, word).__doc__
        assert ">>> play_on_loop(" in doc or word == "statistics", word


def test_birth_life_and_death_are_in_the_example_of_the_class() -> None:
    assert Process.__doc__ is not None
    for word in ("birth", "life", "death"):
        assert f"def {word}(self)" in Process.__doc__
