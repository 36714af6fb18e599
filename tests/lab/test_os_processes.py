"""What /proc is read for: nothing that goes meanwhile takes anything else out of the list."""

from __future__ import annotations

import os
import subprocess
import threading

from tests.lab.os_processes import held_up, holdings, is_gone, waits_for_a_core


def test_a_descriptor_that_goes_meanwhile_hides_no_other() -> None:
    pipe = os.pipe()
    high = [os.dup(pipe[0]) for _ in range(50)]
    os.close(high.pop(0))  # a low number, for those that come and go
    ending = threading.Event()

    def come_and_go() -> None:
        while not ending.is_set():
            os.close(os.dup(pipe[1]))

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(200):
            assert set(high) <= holdings(os.getpid()).descriptors.keys()
    finally:
        ending.set()
        thread.join(10.0)
        for each in (*pipe, *high):
            os.close(each)


def test_a_process_that_is_gone_holds_nothing_and_has_not_waited() -> None:
    child = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(child, 0)
    assert not holdings(child).descriptors
    assert waits_for_a_core([child]) == {child: {}}


def test_a_process_lives_from_its_start_until_it_has_ended_and_not_until_it_is_waited_for() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert not is_gone(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_gone(child.pid)
    assert is_gone(child.pid)


def test_work_is_held_up_by_the_most_patient_thread_of_each_process() -> None:
    before = {1: {"10": 1.0, "11": 5.0}, 2: {"20": 0.0}}
    now = {1: {"10": 1.5, "11": 5.1, "12": 0.25}, 2: {"20": 0.5}}
    assert held_up(before, now) == 1.0
    assert held_up(now, now) == 0.0
