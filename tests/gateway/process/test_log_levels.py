"""Levels for all, for loggers, for processes, in one OS process."""

from __future__ import annotations

import io
import logging

from gateway.process.log_levels import Levels, sieve
from gateway.process.logbook import start_logging


def test_levels_of_loggers_hold_until_they_are_taken_back(own_root: None) -> None:
    stream = io.StringIO()
    start_logging("warning", stream=stream)
    chatty = logging.getLogger("chatty.inner")
    chatty.debug("0")
    sieve.apply(Levels(loggers={"chatty": "debug"}), ())
    chatty.debug("1")
    logging.getLogger("other").info("2")
    sieve.apply(Levels(default="info"), ())
    chatty.debug("3")
    logging.getLogger("other").info("4")
    sieve.apply(Levels(), ())
    logging.getLogger("other").info("5")
    said = [line.rsplit(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert said == ["1", "4"]


def test_a_level_of_one_process_leaves_the_others_as_they_are(own_root: None) -> None:
    stream = io.StringIO()
    start_logging("warning", stream=stream)
    x = logging.getLogger("x")
    sieve.apply(Levels(processes={"main": "debug", "far": "debug"}), {"main", "near"})
    x.debug("1")
    sieve.apply(Levels(processes={"near": "debug", "main": "error"}), {"main", "near"})
    x.debug("2")
    x.warning("3")
    x.error("4")
    sieve.apply(Levels(processes={"near": "debug"}), {"main", "near"})
    x.info("5")
    x.warning("6")
    sieve.apply(Levels(processes={"near": "debug"}, loggers={"x": "info"}), {"main", "near"})
    x.info("7")
    sieve.apply(Levels(), ())
    x.info("8")
    said = [line.rsplit(" ", 1)[1] for line in stream.getvalue().splitlines()]
    assert said == ["1", "4", "6", "7"]


def test_what_was_taken_back_leaves_the_level_to_whoever_sets_it_next(own_root: None) -> None:
    root = logging.getLogger()
    for own in ("INFO", "WARNING"):
        root.setLevel(own)
        for levels, floor in ((Levels(default="error"), None), (Levels(), logging.DEBUG)):
            sieve.apply(levels, (), floor)
            assert root.level != getattr(logging, own)
            sieve.apply(Levels(), ())
            assert root.level == getattr(logging, own)
