"""Which MQTT is spoken to whom."""

from __future__ import annotations

from routes.mqtt.protocol_choice import ProtocolChoice


def test_a_broker_that_says_so_is_spoken_to_in_3_1_1_from_then_on():
    choice = ProtocolChoice()
    assert choice.refused()
    choice.admitted()
    choice.ended()
    assert choice.version == "3.1.1"


def test_silence_leads_to_a_probe_at_once():
    choice = ProtocolChoice()
    assert choice.silent()
    assert (choice.version, choice.probing) == ("5", True)


def test_silence_alone_never_leads_to_3_1_1():
    choice = ProtocolChoice()
    for _ in range(10):
        choice.silent()
        assert choice.version == "5"


def test_a_probe_that_is_refused_is_proof():
    choice = ProtocolChoice()
    choice.silent()
    assert choice.refused()
    assert (choice.version, choice.probing) == ("3.1.1", False)


def test_a_probe_that_is_answered_is_followed_by_the_real_thing():
    choice = ProtocolChoice()
    choice.hung_up()
    choice.answered()
    assert (choice.version, choice.probing) == ("5", False)


def test_one_hang_up_proves_nothing():
    choice = ProtocolChoice()
    assert choice.hung_up()
    assert (choice.version, choice.probing) == ("5", True)


def test_two_hang_ups_in_a_row_try_3_1_1():
    choice = ProtocolChoice()
    choice.hung_up()
    assert not choice.hung_up()
    assert (choice.version, choice.probing) == ("3.1.1", False)


def test_hang_ups_before_and_after_a_connection_do_not_add_up():
    choice = ProtocolChoice()
    choice.hung_up()
    choice.admitted()
    choice.ended()
    choice.hung_up()
    assert choice.version == "5"


def test_a_broker_that_cannot_be_reached_breaks_the_row():
    choice = ProtocolChoice()
    choice.hung_up()
    choice.ended()
    choice.hung_up()
    assert choice.version == "5"


def test_3_1_1_is_kept_when_hang_ups_led_there_twice():
    choice = ProtocolChoice()
    versions = []
    for _ in range(2):
        choice.hung_up()
        choice.hung_up()
        choice.admitted()
        choice.ended()
        versions.append(choice.version)
    assert versions == ["5", "3.1.1"]


def test_another_broker_that_refuses_3_1_1_is_asked_in_5_again():
    choice = ProtocolChoice()
    choice.refused()
    choice.admitted()
    choice.ended()
    assert not choice.refused()
    assert choice.version == "5"


def test_another_broker_that_hangs_up_on_3_1_1_is_asked_in_5_again():
    choice = ProtocolChoice()
    choice.refused()
    choice.hung_up()
    choice.hung_up()
    assert choice.version == "5"


def test_only_the_very_first_answer_is_waited_for_briefly():
    choice = ProtocolChoice()
    assert choice.patience(3.0) == 1.0
    assert choice.patience(0.2) == 0.2
    choice.silent()
    assert choice.patience(3.0) == 3.0
