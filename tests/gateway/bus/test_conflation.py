"""What gives way in a full queue: readings before states, and no topic's last word."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from gateway.bus.conflation import dispensable
from gateway.bus.lanes import Lanes
from gateway.bus.mailbox import Mailbox
from gateway.bus.pump import DEPTH, Pump
from gateway.bus.wire import Outlet
from gateway.mail.codec import encode
from gateway.mail.message import Message

Make = Callable[..., Message]
Boxes = Callable[..., Mailbox]
Outlets = Callable[..., Outlet]

TOPICS = st.sampled_from(["a", "b", "c"])


def publication(subject: str, body: int, retain: bool) -> Message:
    number = str(body)
    return Message(
        number, number, 1, 0.0, "x", "", subject, body, kind="publication", retain=retain
    )


def test_the_oldest_reading_goes_before_any_state() -> None:
    queued = [publication("state", 0, True), publication("r", 1, False), publication("r", 2, False)]
    assert dispensable(queued, publication("state", 3, True)) == 1


def test_of_states_the_one_that_a_newer_one_made_void_goes() -> None:
    queued = [publication(topic, number, True) for number, topic in enumerate("abcb")]
    assert dispensable(queued, publication("d", 4, True)) == 1
    assert dispensable(queued[:3], publication("b", 4, True)) == 1


def test_where_each_is_its_topic_s_last_word_a_reading_goes_itself_or_else_the_oldest() -> None:
    queued = [publication(topic, 0, True) for topic in "abc"]
    assert dispensable(queued, publication("r", 1, False)) is None
    assert dispensable(queued, publication("d", 1, True)) == 0


@given(st.lists(st.tuples(TOPICS, st.booleans()), max_size=60), st.integers(3, 8))
def test_a_full_mailbox_keeps_the_last_word_on_each_retained_topic(
    said: list[tuple[str, bool]], size: int
) -> None:
    lanes = Lanes(size, "fifo")
    for number, (topic, retain) in enumerate(said):
        # A topic is retained or it is not.
        lanes.push_publication(publication(f"{topic}{retain}", number, retain))
    found = list(iter(lanes.pop, None))
    assert [each.body for each in found] == sorted(each.body for each in found)
    assert len(found) == min(size, len(said))
    last = {f"{topic}{retain}": n for n, (topic, retain) in enumerate(said) if retain}
    assert set(last.values()) <= {each.body for each in found}
    assert lanes.balance().is_balanced


def test_a_slow_subscriber_hears_the_last_state_of_each(
    letter: Make, box: Boxes, outlet: Outlets
) -> None:
    target, out = box(size=4 * DEPTH), outlet()
    pump = Pump()
    try:
        for number in range(200):
            message = letter(f"state-{number % 100}", body=number, kind="publication", retain=True)
            pump.send(out, message, encode(message))
        for number in range(3 * DEPTH):
            reading = letter("reading", body=number, kind="publication")
            pump.send(out, reading, encode(reading))
        assert pump.dropped
        heard: dict[str, int] = {}
        while heard != {f"state-{number % 100}": number for number in range(100, 200)}:
            message = target.get(5.0)  # type: ignore[assignment]
            assert message is not None, "a state was lost for good"
            if message.retain:
                heard[message.subject] = message.body
    finally:
        pump.stop()
