"""Who is at a broker, put together from what is retained there."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from gateway.errors import LinkLostError
from routes.mqtt import fleet as fleets
from routes.mqtt.fleet import Fleet, Listing
from routes.mqtt.incoming import Incoming
from routes.mqtt.settings import SessionSettings
from tests.lab.hostile_broker import SUBSCRIBE, HostileBroker, Talk, answer, publish
from tests.lab.mosquitto import Mosquitto
from tests.lab.mqtt_ends import Mute


def say(listing: Listing, topic: str, body: Any = None) -> None:
    payload = b"" if body is None else json.dumps(body).encode()
    listing.hear(Incoming(f"gateway/{topic}", payload))


@pytest.fixture
def listing() -> Listing:
    listing = Listing()
    say(listing, "pi-2/status", {"online": False, "cause": "power", "since": 5, "version": "1"})
    say(listing, "pi%2F1/status", {"online": True, "version": "2", "since": 7.5})
    for number, connected in enumerate((True, True, False)):
        say(listing, f"pi%2F1/devices/d{number}/state", {"connected": connected})
    say(listing, "pi-2/devices/d0/state", {"connected": True})
    problems = [{"what": "it is hot", "level": "warning", "since": 1.0, "advice": "cool it"}]
    for node in ("pi-2", "pi%2F1"):
        say(listing, f"{node}/health", {"verdict": "warning", "problems": problems, "more": 1})
    return listing


def test_each_gateway_is_one_entry_by_name(listing: Listing) -> None:
    assert listing.nodes() == [
        {
            "node": "pi-2",
            "online": False,
            "cause": "power",
            "since": 5.0,
            "version": "1",
            "devices": {"connected": None, "total": 1},
            "verdict": None,
            "problems": [],
        },
        {
            "node": "pi/1",
            "online": True,
            "cause": "",
            "since": 7.5,
            "version": "2",
            "devices": {"connected": 2, "total": 3},
            "verdict": "warning",
            "problems": [{"what": "it is hot", "level": "warning", "since": 1.0}],
        },
    ]


def test_what_is_no_longer_retained_is_forgotten(listing: Listing) -> None:
    say(listing, "pi%2F1/devices/d0/state")
    say(listing, "pi%2F1/health")
    say(listing, "pi-2/status")
    (only,) = listing.nodes()
    assert (only["devices"], only["problems"]) == ({"connected": 1, "total": 2}, [])


@pytest.mark.parametrize(
    ("topic", "body"),
    [
        ("pi/status", 5),
        ("pi/status", {"online": "yes"}),
        ("%zz/status", {"online": True}),
        ("pi/health", [[]]),
        ("pi/devices/a/state", {"connected": "so-so"}),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_nonsense_is_counted_and_left_out(topic: str, body: Any) -> None:
    listing = Listing()
    say(listing, topic, body)
    listing.hear(Incoming("", b""))
    listing.hear(Incoming("gateway/pi/status", b"[" * 100_000))
    assert (listing.nodes(), listing.refused, listing.heard) == ([], 3, 3)


def test_gateways_are_listed_up_to_a_bound(
    listing: Listing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "MOST", 2)
    say(listing, "pi-3/status", {"online": True})
    say(listing, "pi-2/status", {"online": True})
    assert [node["online"] for node in listing.nodes()] == [True, True]


def test_what_is_said_of_gateways_that_are_not_there_is_bounded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fleets, "MOST", 2)
    monkeypatch.setattr(fleets, "MOST_DEVICES", 2)
    listing = Listing()
    for number in range(4):
        say(listing, f"pi-{number}/health", {"verdict": "fine"})
        say(listing, f"pi-{number}/devices/d/state", {"connected": True})
    assert listing.refused == 4
    say(listing, "pi-0/devices/d/state")
    say(listing, "pi-3/devices/d/state", {"connected": True})
    assert listing.refused == 4
    assert set(listing._devices) == {"pi-1", "pi-3"}


def test_topics_that_nobody_asked_for_and_names_that_nobody_can_print_cost_nothing() -> None:
    listing = Listing()
    listing.hear(Incoming("gateway/pi/devices", b"{}"))
    say(listing, "%ED%A0%80/status", {"online": True})
    assert (listing.nodes(), listing.refused) == ([], 1)


def settings(url: str, **options: Any) -> SessionSettings:
    return SessionSettings(broker=url, **options)


@pytest.mark.needs("mosquitto")
def test_a_listener_hears_what_is_retained_and_what_changes_and_says_nothing(
    broker: Mosquitto,
) -> None:
    for number in range(3):
        broker.pub(f"gateway/pi-{number}/status", '{"online": true}', retain=True)
    with Fleet(settings(broker.url)) as fleet:
        fleet.settle()
        assert [node["node"] for node in fleet.listing.nodes()] == ["pi-0", "pi-1", "pi-2"]
        assert not fleet.turn(0.01)
        broker.pub("gateway/pi-1/status", '{"online": false}', retain=True)
        assert fleet.turn(10.0)
        assert [node["online"] for node in fleet.listing.nodes()] == [True, False, True]
        assert not any("Received PUBLISH from gateway-fleet" in line for line in broker.log)
    broker.wait_for_log("Received DISCONNECT from gateway-fleet")


@pytest.mark.needs("mosquitto")
def test_a_broker_that_ends_or_was_never_there_is_a_reason(broker: Mosquitto) -> None:
    with Fleet(settings(broker.url)) as fleet:
        broker.kill()
        with pytest.raises(LinkLostError, match=r"was it stopped|cut the connection"):
            fleet.turn(10.0)
    with pytest.raises(LinkLostError, match="nobody listens"), Fleet(settings(broker.url)):
        pass


def test_on_a_long_line_it_waits_for_what_is_retained() -> None:
    def slow(talk: Talk) -> None:
        while (packet := talk.hear()) is not None:
            if packet.type == SUBSCRIBE:
                threading.Event().wait(2 * fleets.QUIET)
                status = publish("gateway/pi-0/status", b'{"online": true}', level=4)
                talk.say(answer(packet, talk.level) + status)

    with HostileBroker(slow, level=4) as broker, Fleet(settings(broker.url)) as fleet:
        fleet.settle()
        assert [node["node"] for node in fleet.listing.nodes()] == ["pi-0"]


def test_who_does_not_answer_a_subscription_is_given_up() -> None:
    def listen(talk: Talk) -> None:
        while talk.hear() is not None:
            pass

    told = pytest.raises(LinkLostError, match="said nothing for 1 s")
    with HostileBroker(listen, level=4) as broker, told:
        Fleet(settings(broker.url, connect_timeout=1.0)).__enter__()


def test_a_broker_that_says_nothing_is_given_up() -> None:
    with Mute() as mute, pytest.raises(LinkLostError, match="said nothing for 1 s"):
        Fleet(settings(mute.url, connect_timeout=1.0)).__enter__()


@pytest.mark.needs("mosquitto")
def test_who_is_not_admitted_is_told_so(tmp_path: Any) -> None:
    with Mosquitto(passwords={"ada": "right"}) as broker:
        with pytest.raises(LinkLostError, match="admits nobody without a name"):
            Fleet(settings(broker.url)).__enter__()
        (tmp_path / "password").write_text("wrong\n")
        options = {"username": "ada", "password_file": str(tmp_path / "password")}
        with pytest.raises(LinkLostError, match="refuses the user 'ada'"):
            Fleet(settings(broker.url, **options)).__enter__()
        (tmp_path / "password").write_text("right\n")
        with Fleet(settings(broker.url, **options)) as fleet:
            fleet.settle()
