"""Commands to a hosted device: each that was taken is answered, exactly once."""

from __future__ import annotations

import threading
import time
from random import Random

import pytest

from gateway.device import command
from gateway.device.link_state import LinkState
from gateway.errors import (
    BodyError,
    CallTimeoutError,
    ExpiredError,
    GatewayError,
    LinkLostError,
    MailboxFullError,
    ProtocolError,
    RecipientGoneError,
    RefusedError,
    UnknownApiError,
)
from gateway.mail.message import Message
from gateway.process.whereabouts import here
from tests.gateway.hosting.conftest import FRAMING, Board


class Slow(Random):
    """Randomness by which every back-off is as long as it can be."""

    def uniform(self, a: float, b: float) -> float:
        return 3600.0


def test_a_command_asks_the_board_and_its_answer_is_the_reply(rig) -> None:
    link = rig.connect()
    assert rig.call("led", {"on": True}) == "LED ok"
    assert link.written[-1] == b"LED1*7C\n"


def test_a_command_that_only_writes_returns_at_once(rig) -> None:
    link = rig.connect()
    assert rig.call("say", {"text": "hi"}) is None
    assert link.written[-1].startswith(b"hi*")


@pytest.mark.parametrize(
    ("subject", "body", "error", "said"),
    [
        ("ledd", None, UnknownApiError, "no command 'ledd'; did you mean 'led'"),
        ("xyzzy", None, UnknownApiError, "it has crash, decline"),
        ("handshake", None, UnknownApiError, "no command 'handshake'"),
        ("led", {"on": "yes"}, RefusedError, "parameter 'on': Expected `bool`"),
        ("decline", None, RefusedError, "not while it moves"),
        ("wait", {"seconds": 0.05}, CallTimeoutError, "no answer to b'\\?' within 0.05 s"),
        ("say", {"text": "a\nb"}, ProtocolError, "line end"),
        ("say", {"text": "x" * 100}, ProtocolError, "the limit is 64"),
    ],
)
def test_what_goes_wrong_with_one_command_is_bounced_and_costs_nothing_else(
    rig, subject, body, error, said
) -> None:
    rig.connect()
    with pytest.raises(error, match=said):
        rig.call(subject, body)
    assert rig.call("led") == "LED ok"
    assert rig.thread.statistics().openings == 1


def test_a_letter_that_is_too_old_is_bounced_and_never_reaches_the_board(rig) -> None:
    link = rig.connect()
    message = rig.post("led", expiry=time.monotonic() - 1.0)
    rig.outside.wait_answers(1)
    assert isinstance(rig.answers_to(message)[0], ExpiredError)
    assert len(link.written) == 1  # the handshake


@pytest.mark.parametrize(("subject", "kind"), [("crash", "ZeroDivision"), ("leave", "SystemExit")])
def test_a_bug_in_a_command_bounces_it_and_fails_the_device_which_comes_back(
    rig, subject, kind
) -> None:
    rig.connect()
    with pytest.raises(GatewayError, match=kind) as bounce:
        rig.call(subject)
    assert bounce.value.code == "remote"
    assert kind in rig.outside.wait_event("board", "device_error")["cause"]
    rig.outside.wait_event("board", "connected", count=2)
    assert rig.call("led") == "LED ok"


def test_a_command_that_declares_the_link_lost_costs_the_link(rig) -> None:
    first = rig.connect()
    with pytest.raises(LinkLostError, match="NO CARRIER"):
        rig.call("give_up")
    rig.outside.wait_event("board", "connected", count=2)
    assert first.closed


def test_a_link_that_breaks_during_a_question_bounces_it_and_all_that_wait(rig) -> None:
    link = rig.connect()
    asked = rig.post("wait", {"seconds": 60.0})
    waiting = [rig.post("led") for _ in range(5)]
    link.wait_written(2)
    link.break_()
    rig.outside.wait_answers(6)
    rig.outside.wait_event("board", "connected", count=2)
    for message in [asked, *waiting]:
        [error] = rig.answers_to(message)
        assert isinstance(error, LinkLostError)
        assert "the cable was pulled" in str(error)


def test_frames_that_come_during_a_question_are_received_later_and_in_order(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    message = rig.post("led")
    link.wait_written(2)
    rig.hand(b"one", b"two")
    rig.hand(b"three", b"LED yes", b"four")
    rig.outside.wait_answers(1)
    assert rig.answers_to(message) == ["LED yes"]
    rig.hand(b"five")
    # The driver itself asserts that received is never entered during a command.
    frames = ["one", "two", "three", "four", "five"]
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == frames)
    assert rig.thread.state is LinkState.HEALTHY


def test_only_the_first_frame_that_answers_is_the_answer(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    message = rig.post("led")
    link.wait_written(2)
    rig.hand(b"LED one", b"LED two")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["LED two"])
    assert rig.answers_to(message) == ["LED one"]


def test_frames_keep_their_order_where_received_asks_and_more_come(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    publish = rig.outside.publish

    def publish_and_hand(topic, body, *, retain=False) -> None:
        publish(topic, body, retain=retain)
        if body == "one":
            rig.hand(b"three")  # while "two" is kept

    rig.outside.publish = publish_and_hand
    rig.post("led")
    link.wait_written(2)
    rig.hand(b"ask me", b"one", b"LED ok")
    link.wait_written(3)
    rig.hand(b"two", b"LED ok")
    frames = ["ask me", "one", "two", "three"]
    rig.outside.wait_for(lambda: len(rig.outside.bodies("devices/board/frame")) == 4)
    assert rig.outside.bodies("devices/board/frame") == frames


def test_received_may_ask_and_is_not_entered_again_meanwhile(rig) -> None:
    rig.connect()
    rig.hand(b"ask me", b"one", b"ask me", b"two")
    frames = ["ask me", "one", "ask me", "two"]
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == frames)
    assert rig.thread.statistics().failures == 0


def test_more_frames_than_can_be_kept_during_a_question_are_dropped_oldest_first(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    rig.post("led")
    link.wait_written(2)
    for start in range(0, 1100, 100):
        rig.hand(*(b"%d" % number for number in range(start, start + 100)))
    rig.hand(b"LED ok")
    rig.outside.wait_for(lambda: len(rig.outside.bodies("devices/board/frame")) == 1024)
    assert rig.outside.bodies("devices/board/frame")[0] == "76"
    assert rig.thread.statistics().dropped == 76


def test_a_command_to_a_device_that_is_not_connected_is_bounced_with_the_cause(rig) -> None:
    early = rig.post("led")
    rig.opener.absent = True
    rig.thread.start()
    rig.opener.wait_attempts(2)
    late = rig.post("led")
    rig.outside.wait_answers(2)
    for message in (early, late):
        [error] = rig.answers_to(message)
        assert isinstance(error, RefusedError)
        assert str(error) == "board is not connected: nothing is plugged in"
    assert rig.thread.statistics().bounced == 2


def test_a_command_to_a_device_that_waits_for_its_next_try_is_bounced_at_once(make_rig) -> None:
    rig = make_rig(random=Slow())
    rig.opener.refusal = "no permission"
    rig.thread.start()
    rig.outside.wait_state("board", "failed")
    with pytest.raises(RefusedError, match="board is not connected: no permission"):
        rig.call("led")


def test_a_command_to_a_board_that_has_not_identified_itself_is_bounced_at_once(make_rig) -> None:
    rig = make_rig(answers={}, handshake_within=60.0, question_seconds=60.0)
    rig.thread.start()
    rig.opener.wait_link().wait_written(1)
    with pytest.raises(RefusedError, match="not connected: it has not identified itself yet"):
        rig.call("led")
    rig.hand(b"ID 1.0")
    rig.outside.wait_event("board", "connected")
    assert rig.thread.statistics().openings == 1


def test_what_is_no_letter_is_no_command(rig) -> None:
    link = rig.connect()
    reply = Message("9", "9", 2, 0.0, "test", "board@fake", "led", kind="reply", in_reply_to="8")
    rig.thread.post(reply)
    rig.outside.wait_answers(1)
    assert isinstance(rig.answers_to(reply)[0], RefusedError)
    assert len(link.written) == 1  # the handshake


def test_one_letter_more_than_may_wait_finds_no_room_and_the_rest_is_answered(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"}, mailbox_size=3)
    link = rig.connect()
    first = rig.post("wait", {"seconds": 60.0})
    link.wait_written(2)
    waiting = [rig.post("decline") for _ in range(3)]
    with pytest.raises(MailboxFullError, match="full with 3 letters"):
        rig.post("decline")
    assert rig.thread.statistics().refused == 1
    rig.hand(b"? at last")
    rig.outside.wait_answers(4)
    assert rig.answers_to(first) == ["? at last"]
    assert all(len(rig.answers_to(each)) == 1 for each in waiting)


def test_a_writer_waits_for_room_until_the_command_in_hand_has_ended(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"}, mailbox_size=1)
    link = rig.connect()
    rig.post("wait", {"seconds": 60.0})
    link.wait_written(2)
    rig.post("decline")
    patient = Message("patient", "patient", 1, 0.0, "test", "board@fake", "decline")
    writer = threading.Thread(target=rig.mailbox.deliver, args=(patient, 5.0))
    writer.start()
    assert rig.answers_to(patient) == []
    rig.hand(b"? at last")
    writer.join(5.0)
    rig.outside.wait_answers(3)
    assert len(rig.answers_to(patient)) == 1


def test_a_connected_callback_may_send_a_command_at_once(rig) -> None:
    publish = rig.outside.publish
    posted = []

    def answer_the_event(topic, body, *, retain=False) -> None:
        publish(topic, body, retain=retain)
        if topic == "devices/board/events/connected":
            posted.append(rig.post("led"))

    rig.outside.publish = answer_the_event
    rig.thread.start()
    rig.outside.wait_answers(1)
    assert rig.answers_to(posted[0]) == ["LED ok"]


def test_an_answer_that_no_letter_can_carry_is_bounced(rig) -> None:
    def refuse(message, body) -> None:
        raise BodyError("a set is no body")

    rig.connect()
    rig.outside.reply = refuse
    with pytest.raises(BodyError):
        rig.call("led")
    assert rig.thread.state is LinkState.HEALTHY


def test_a_house_that_takes_nothing_costs_no_device(rig) -> None:
    rig.connect()
    rig.outside.refusal = MailboxFullError("the house is full")
    rig.post("led")
    rig.link.wait_written(2)
    rig.link.break_()
    rig.opener.wait_link(2).wait_written(1)
    rig.outside.refusal = None
    rig.outside.wait_for(lambda: rig.thread.state.connected)
    assert rig.call("led") == "LED ok"
    assert rig.thread.statistics().unheard >= 2


def test_commands_are_carried_out_in_the_order_in_which_they_were_posted(rig) -> None:
    link = rig.connect()
    for number in range(60):
        rig.post("say", {"text": str(number)})
    written = [line.split(b"*")[0] for line in link.wait_written(61)[1:]]
    assert written == [b"%d" % number for number in range(60)]


def test_an_endless_row_of_commands_does_not_keep_frames_waiting(rig) -> None:
    rig.connect()
    reply = rig.outside.reply

    def reply_and_post_again(message, body) -> None:
        reply(message, body)
        if not rig.driver.heard:
            rig.post("say", {"text": "x"})

    rig.outside.reply = reply_and_post_again
    rig.post("say", {"text": "x"})
    rig.outside.wait_answers(100)
    rig.hand(b"hello")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello"])


def test_each_accepted_command_is_answered_once_whatever_happens_to_the_link(rig) -> None:
    """Four writers post while the cable is pulled at every turn; the ledger balances."""
    rig.connect()
    rounds = 60
    taken: list[list[object]] = [[] for _ in range(4)]
    ended = threading.Event()

    def write(mine: list[object]) -> None:
        while not ended.is_set():
            try:
                mine.append(rig.post("led"))
            except MailboxFullError:
                rig.outside.wait_for(lambda: not rig.waiting() or ended.is_set())

    writers = [threading.Thread(target=write, args=(mine,)) for mine in taken]
    for writer in writers:
        writer.start()
    for count in range(2, 2 + rounds):
        rig.outside.wait_event("board", "connected", count=count - 1)
        rig.outside.wait_answers(len(rig.outside.replies) + len(rig.outside.bounces) + 1)
        rig.link.break_()
        rig.outside.wait_event("board", "connected", count=count)
    ended.set()
    for writer in writers:
        writer.join(10.0)
        assert not writer.is_alive()
    assert rig.thread.stop(5.0)
    accepted = [message for mine in taken for message in mine]
    answered = [message for message, _ in [*rig.outside.replies, *rig.outside.bounces]]
    assert sorted(map(id, accepted)) == sorted(map(id, answered))
    counts = rig.thread.statistics()
    assert counts.accepted == len(accepted) == counts.answered + counts.bounced
    assert (counts.queued, counts.unheard) == (0, 0)


def test_commands_that_wait_when_the_device_is_stopped_are_bounced(make_rig) -> None:
    rig = make_rig(answers={b"ID": b"ID 1.0"})
    link = rig.connect()
    asked = rig.post("wait", {"seconds": 60.0})
    waiting = rig.post("led")
    link.wait_written(2)
    assert rig.thread.stop(2.0)
    assert isinstance(rig.answers_to(asked)[0], LinkLostError)
    [error] = rig.answers_to(waiting)
    assert isinstance(error, RecipientGoneError)
    assert str(error) == "the device board was stopped"


def test_a_letter_to_a_device_that_has_ended_is_left_to_whoever_closes_its_mailbox(rig) -> None:
    rig.connect()
    assert rig.thread.stop(2.0)
    late = rig.post("led")
    assert rig.mailbox.close() == [late]


def test_the_log_knows_the_device_its_router_and_the_thread_of_the_command(make_rig) -> None:
    class Curious(Board):
        def received(self, frame: bytes) -> None:
            self.publish("where", list(here()))

        @command
        def where(self) -> list[str]:
            """Say what a record would say."""
            return list(here())

    rig = make_rig(Curious)
    rig.connect()
    message = rig.post("where")
    rig.outside.wait_answers(1)
    assert rig.answers_to(message) == [["fake", "board", message.thread_id]]
    rig.hand(b"anything")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/where") != [])
    assert rig.outside.bodies("devices/board/where") == [["fake", "board", ""]]


class Patient(Board):
    """A board that is told which answers came late, and may be asked twice at a time."""

    in_flight = 2

    def late(self, request: bytes, frame: bytes) -> None:
        self.publish("late", [request.decode(), frame.decode()])

    @command
    def both(self) -> list[str]:
        """Ask twice at a time."""
        return [answer.decode() for answer in self.ask_many([b"LED1", b"ID"], timeout=5.0)]


def test_a_late_answer_is_handed_to_the_drivers_own_method_for_it(make_rig) -> None:
    rig = make_rig(Patient)
    rig.connect()
    with pytest.raises(CallTimeoutError):
        rig.call("wait", {"seconds": 0.01})
    rig.hand(b"hello", b"? at last", b"? again")
    rig.outside.wait_for(lambda: rig.outside.bodies("devices/board/frame") == ["hello", "? again"])
    assert rig.outside.bodies("devices/board/late") == [["?", "? at last"]]
    assert rig.thread.statistics().late == 1


def test_a_command_may_ask_many_questions_at_a_time(make_rig) -> None:
    rig = make_rig(Patient)
    link = rig.connect()
    assert rig.call("both") == ["LED ok", "ID 1.0"]
    assert link.written[-2:] == [FRAMING.encode(b"LED1"), FRAMING.encode(b"ID")]
