"""The outbox: bounded, ordered, and its counts balance."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.mqtt.letter import Letter
from routes.mqtt.outbox import ATTEMPTS, Outbox

NOW = 100.0


def never_mind():
    """Stand for who waits for a letter to be settled."""


def box(size=3, size_bytes=1000, retained_size=3):
    return Outbox(size=size, size_bytes=size_bytes, retained_size=retained_size)


def payloads(outbox):
    taken = []
    while (letter := outbox.take(NOW)) is not None:
        taken.append(letter.payload)
    return taken


def test_letters_leave_in_the_order_in_which_they_came():
    outbox = box()
    for payload in (b"1", b"2", b"3"):
        outbox.put(Letter("t", payload))
    assert payloads(outbox) == [b"1", b"2", b"3"]


def test_a_full_box_drops_the_oldest_and_counts_it():
    outbox = box(size=2)
    for payload in (b"1", b"2", b"3"):
        outbox.put(Letter("t", payload))
    assert outbox.statistics().dropped == 1
    assert payloads(outbox) == [b"2", b"3"]


def test_the_bound_in_bytes_holds_too():
    outbox = box(size=100, size_bytes=10)
    for payload in (b"aaaa", b"bbbb", b"cccc"):
        outbox.put(Letter("t", payload))
    assert payloads(outbox) == [b"bbbb", b"cccc"]


def test_a_letter_over_the_bound_in_bytes_is_refused():
    outbox = box(size_bytes=10)
    outbox.put(Letter("t", b"kept"))
    assert not outbox.put(Letter("t", b"x" * 10))
    assert outbox.statistics().refused == 1
    assert payloads(outbox) == [b"kept"]


def test_replies_go_first_and_are_dropped_last():
    outbox = box(size=2)
    outbox.put(Letter("reply", b"r", urgent=True))
    outbox.put(Letter("t", b"1"))
    outbox.put(Letter("t", b"2"))
    assert payloads(outbox) == [b"r", b"2"]


def test_of_a_retained_topic_only_the_newest_waits():
    outbox = box()
    outbox.put(Letter("state", b"old", retain=True))
    outbox.put(Letter("state", b"new", retain=True))
    assert payloads(outbox) == [b"new"]
    assert outbox.statistics().superseded == 1


def test_retained_values_are_said_again_after_a_loss():
    outbox = box()
    outbox.put(Letter("state", b"1", qos=1, retain=True))
    outbox.sent(outbox.take(NOW))
    outbox.lost()
    assert payloads(outbox) == [b"1"]
    statistics = outbox.statistics()
    assert (statistics.acknowledged, statistics.republished) == (1, 1)


def test_a_retained_value_in_flight_does_not_come_back_over_its_successor():
    outbox = box()
    outbox.put(Letter("state", b"old", qos=1, retain=True))
    outbox.take(NOW)
    outbox.put(Letter("state", b"new", qos=1, retain=True))
    outbox.lost()
    assert payloads(outbox) == [b"new"]


def test_an_empty_retained_value_is_forgotten_once_the_broker_has_it():
    outbox = box()
    outbox.put(Letter("state", b"", qos=1, retain=True))
    outbox.sent(outbox.take(NOW))
    outbox.lost()
    assert payloads(outbox) == []


def test_too_many_retained_topics_forget_the_longest_unchanged():
    outbox = box(retained_size=2)
    for topic in ("a", "b", "a", "c"):
        outbox.put(Letter(topic, topic.encode(), retain=True))
    assert payloads(outbox) == [b"a", b"c"]
    assert outbox.statistics().forgotten == 1


def test_the_urgent_among_the_retained_is_forgotten_last_of_all():
    outbox = box(retained_size=2)
    outbox.put(Letter("status", b"online", retain=True, urgent=True))
    for topic in ("a", "b", "c"):
        outbox.put(Letter(topic, topic.encode(), retain=True))
    assert payloads(outbox) == [b"online", b"c"]
    outbox.put(Letter("status", b"x" * 900, retain=True, urgent=True))
    outbox.put(Letter("reply", b"x" * 900, retain=True, urgent=True))
    assert payloads(outbox) == [b"x" * 900], "the bound holds all the same"
    assert outbox.statistics().retained == 1


def test_what_was_in_flight_goes_first_after_a_loss():
    outbox = box()
    for payload in (b"1", b"2", b"3"):
        outbox.put(Letter("t", payload, qos=1))
    outbox.take(NOW)
    outbox.take(NOW)
    outbox.lost()
    assert payloads(outbox) == [b"1", b"2", b"3"]


def test_a_letter_that_costs_connection_after_connection_is_given_up():
    outbox = box()
    outbox.put(Letter("t", b"poison", qos=1))
    for _ in range(ATTEMPTS):
        assert outbox.take(NOW) is not None
        outbox.lost()
    assert outbox.take(NOW) is None
    assert outbox.statistics().given_up == 1
    assert not outbox


def test_a_retained_value_that_costs_connection_after_connection_is_given_up():
    outbox = box()
    outbox.put(Letter("t", b"poison", qos=1, retain=True))
    for _ in range(ATTEMPTS):
        assert outbox.take(NOW) is not None
        outbox.lost()
    assert not outbox
    assert outbox.statistics().given_up == 1


letters = st.builds(
    Letter,
    topic=st.sampled_from("abcd"),
    payload=st.binary(max_size=12),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    urgent=st.booleans(),
    settled=st.sampled_from([None, never_mind]),
    deadline=st.none() | st.integers(0, 8),
)
actions = st.one_of(
    letters,
    st.sampled_from(["take", "take", "take", "sent", "deny", "postpone", "lost", "tick"]),
)


def test_what_is_spooled_is_never_dropped_and_settled_once():
    outbox, settled = box(size=1), list[bytes]()
    for payload in (b"1", b"2", b"3"):
        outbox.put(Letter("t", payload, qos=1, settled=partial(settled.append, payload)))
    outbox.put(Letter("reply", b"r", urgent=True))
    reply, first, second = (outbox.take(NOW) for _ in range(3))
    assert [reply.payload, first.payload, second.payload] == [b"r", b"1", b"2"]
    outbox.sent(first)
    outbox.lost()
    assert settled == [b"1"]
    assert payloads(outbox) == [b"r", b"2", b"3"]
    outbox.sent(first)
    outbox.deny(second)
    assert settled == [b"1", b"2"]
    assert outbox.statistics().dropped == 0


def test_a_spooled_letter_is_suspected_and_sent_alone_before_it_is_given_up():
    outbox, done = box(), list[bytes]()
    for payload in (b"poison", b"good"):
        outbox.put(Letter("t", payload, qos=1, settled=partial(done.append, payload)))
    for _ in range(ATTEMPTS):
        assert payloads(outbox) == [b"poison", b"good"]
        outbox.lost()
    assert done == []
    for _ in range(ATTEMPTS):
        assert payloads(outbox) == [b"poison"], "from now on alone"
        outbox.lost()
    assert (done, outbox.statistics().given_up) == ([b"poison"], 1)
    good = outbox.take(NOW)
    assert outbox.take(NOW) is None
    outbox.sent(good)
    assert done == [b"poison", b"good"]
    assert not outbox


def test_a_letter_that_others_died_around_is_not_given_up():
    outbox, done = box(), list[bytes]()
    outbox.put(Letter("t", b"1", qos=1, settled=partial(done.append, b"1")))
    for _ in range(2 * ATTEMPTS - 1):
        letter = outbox.take(NOW)
        outbox.lost()
    letter = outbox.take(NOW)
    outbox.sent(letter)
    assert done == [b"1"]
    assert outbox.statistics().given_up == 0


def test_what_is_too_late_is_not_sent_but_settled_and_counted():
    outbox, done = box(), list[bytes]()
    for lane in ({}, {"urgent": True}, {"retain": True}, {"settled": partial(done.append, b"1")}):
        outbox.put(Letter("t", b"late", deadline=NOW, **lane))
    outbox.put(Letter("t", b"good", deadline=NOW + 1))
    assert payloads(outbox) == [b"good"]
    assert (done, outbox.statistics().expired) == ([b"1"], 4)


def test_a_retained_value_is_not_said_again_once_it_is_too_late():
    outbox = box()
    outbox.put(Letter("state", b"1", retain=True, deadline=NOW + 5))
    outbox.sent(outbox.take(NOW))
    outbox.lost()
    assert outbox.take(NOW + 5) is None
    assert not outbox
    statistics = outbox.statistics()
    assert (statistics.acknowledged, statistics.expired, statistics.retained) == (1, 0, 0)


def test_a_suspected_letter_that_is_too_late_holds_up_nobody():
    outbox = box()
    outbox.put(Letter("t", b"1", qos=1, settled=never_mind, deadline=NOW + 5))
    outbox.put(Letter("t", b"2", qos=1, settled=never_mind))
    for _ in range(ATTEMPTS):
        outbox.take(NOW)
        outbox.lost()
    assert outbox.take(NOW + 5).payload == b"2"


def test_what_the_broker_has_no_room_for_goes_again_in_order_and_is_not_to_blame():
    outbox = box(size=10)
    for payload in (b"1", b"2", b"3", b"4"):
        outbox.put(Letter("t", payload, qos=1))
    for _ in range(3 * ATTEMPTS):
        first, second, third = (outbox.take(NOW) for _ in range(3))
        outbox.postpone(second)
        outbox.postpone(third)
        outbox.postpone(first)
        assert outbox.statistics().queued == 4
    assert payloads(outbox) == [b"1", b"2", b"3", b"4"]
    outbox.lost()
    assert payloads(outbox) == [b"1", b"2", b"3", b"4"]


def test_a_value_that_was_postponed_does_not_come_back_over_its_successor():
    outbox = box()
    outbox.put(Letter("state", b"old", qos=1, retain=True))
    outbox.postpone(outbox.take(NOW))
    outbox.put(Letter("state", b"new", qos=1, retain=True))
    assert payloads(outbox) == [b"new"]
    assert outbox.statistics().superseded == 1


def test_whoever_waits_and_raises_leaves_the_counts_as_they_should_be():
    def fail():
        raise ZeroDivisionError

    outbox, done = box(), list[bytes]()
    for settled in (fail, partial(done.append, b"2")):
        outbox.put(Letter("t", b"", qos=1, settled=settled, deadline=NOW + 1))
    for _ in range(2 * ATTEMPTS):
        letter = outbox.take(NOW)
        with suppress(ZeroDivisionError):
            outbox.lost()
    assert letter is not None
    with suppress(ZeroDivisionError):
        outbox.take(NOW + 1)
    statistics = outbox.statistics()
    assert (statistics.given_up, statistics.expired, done) == (1, 1, [b"2"])
    assert (statistics.queued, statistics.in_flight) == (0, 0)


@given(st.lists(actions, max_size=60))
def test_whatever_happens_the_counts_balance_and_the_bounds_hold(steps):
    outbox = box(size=4, size_bytes=30, retained_size=3)
    flying, clock = [], 0
    for step in steps:
        if isinstance(step, Letter):
            outbox.put(step)
        elif step == "tick":
            clock += 1
        elif step == "take":
            letter = outbox.take(clock)
            assert letter is None or letter.deadline is None or clock < letter.deadline
            flying += [letter] if letter else []
        elif step == "lost":
            outbox.lost()
            flying.clear()
        elif flying:
            getattr(outbox, step)(flying.pop(0))
        now = outbox.statistics()
        done = now.acknowledged + now.dropped + now.superseded + now.refused
        ends = done + now.given_up + now.expired
        assert now.accepted == ends + now.queued + now.in_flight
        assert now.queued_bytes <= 30, "what is spooled is bounded elsewhere"
        assert now.retained <= 3
        assert now.retained_bytes <= 30
    assert bool(flying) <= bool(outbox)
    if not flying:
        while letter := outbox.take(clock):
            outbox.sent(letter)
        assert not outbox, "nothing is left that cannot be taken"


@pytest.mark.parametrize("retain", [False, True])
def test_an_outbox_is_empty_only_when_all_is_acknowledged(retain):
    outbox = box()
    outbox.put(Letter("t", b"1", qos=1, retain=retain))
    letter = outbox.take(NOW)
    assert outbox
    outbox.sent(letter)
    assert not outbox


def test_no_more_spooled_letters_are_out_or_unrecorded_than_may_go_twice():
    outbox = Outbox(size=10, size_bytes=10_000, retained_size=10, spooled_window=3)
    done: list[int] = []
    for number in range(6):
        outbox.put(Letter("t", b"%d" % number, 1, settled=partial(done.append, number)))
    out = [letter for _ in range(4) if (letter := outbox.take(NOW))]
    assert [letter.payload for letter in out] == [b"0", b"1", b"2"]
    outbox.sent(out[0])
    outbox.sent(out[1])
    assert done == [0, 1]
    assert outbox.take(NOW) is None, "its file does not know it yet"
    outbox.put(Letter("t", b"a reply", 1, urgent=True))
    assert payload_of(outbox.take(NOW)) == b"a reply", "what is not spooled goes on"
    outbox.recorded(2)
    assert payload_of(outbox.take(NOW)) == b"3"
    outbox.lost()
    assert payload_of(outbox.take(NOW)) == b"a reply"
    assert [payload_of(outbox.take(NOW)) for _ in range(2)] == [b"2", b"3"]


def payload_of(letter: Letter | None) -> bytes:
    assert letter is not None
    return letter.payload
