"""Mail between two gateways over one real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from gateway.errors import (
    AddressError,
    CallTimeoutError,
    ExpiredError,
    GatewayError,
    LinkLostError,
    RefusedError,
)
from gateway.mail.message import Message
from gateway.process.process import Process
from gateway.routing.access import Rule
from routes.mqtt.mail_settings import MailRule, MailSettings, PeerSettings
from routes.mqtt.router import MqttRouter
from routes.mqtt.settings import Settings
from routes.mqtt.spool_settings import SpoolSettings
from tests.lab.little_bus import LittleBus, statistics
from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.lab.os_processes import until

pytestmark = pytest.mark.needs("mosquitto")

KITCHEN, LIVING = "kitchen-pi", "living-pi"


class Cook(Process):
    """Answers, refuses, keeps silent; notes what came."""

    def birth(self) -> None:
        self.heard: SimpleQueue[Message] = SimpleQueue()
        self.add_filter(callback=self.on_letter, kind="^letter$")

    def on_letter(self, message: Message) -> None:
        self.heard.put(message)
        if message.subject == "burn":
            raise LinkLostError("the stove is cold")
        if message.subject == "ask back":
            asked = self.send(message.sender, "how many", thread=message)
            self.add_child_thread("asker", lambda: self._pass_back(message, asked))
        elif message.subject == "nan":
            self.reply(message, float("nan"))
        elif message.subject != "hush":
            self.reply(message, {"cooked": message.body})

    def _pass_back(self, message: Message, asked: Message) -> None:
        self.reply(message, self.wait_for_reply(asked, DEADLINE).body)


class Guest(Process):
    """Writes from a test's thread; answers what it is asked."""

    def birth(self) -> None:
        self.add_filter(callback=lambda letter: self.reply(letter, 4), subject="^how many$")

    def ask(self, recipient: str, subject: str, body: Any = None, **options: Any) -> Message:
        timeout = options.pop("timeout", DEADLINE)
        return self.wait_for_reply(self.send(recipient, subject, body, **options), timeout)


class House:
    """One gateway: its bus, its people, and its mqtt route."""

    def __init__(self, bus: LittleBus, node: str, settings: Settings) -> None:
        self.bus, self.node, self.settings = bus, node, settings
        self.router: Any = None

    def open(self) -> None:
        self.router = self.bus.run(MqttRouter, "mqtt", settings=self.settings, node=self.node)

    def close(self) -> None:
        self.bus.end(self.router)

    def mail(self) -> dict[str, Any]:
        found: dict[str, Any] = statistics(self.router)["mail_between_gateways"]
        return found


Houses = Callable[..., House]

OPEN = (MailRule(sender="*", to="*"),)


@pytest.fixture
def houses(broker: Mosquitto, tmp_path: Path) -> Iterator[Houses]:
    """Make gateways that talk by one broker."""
    with ExitStack() as stack:

        def make(
            node: str, *, max_payload: int = 65_536, rules: tuple[Rule, ...] = (), **mail: Any
        ) -> House:
            bus = stack.enter_context(LittleBus(tmp_path / node))
            settings = Settings(
                broker=broker.url,
                allow=rules,
                retry_first=0.05,
                retry_ceiling=0.2,
                spool=SpoolSettings(bytes=0),
                max_payload=max_payload,
                mail=MailSettings(**{"allow": OPEN, **mail}),
            )
            return House(bus, node, settings)

        yield make


def wait_until_subscribed(broker: Mosquitto, times: int = 1) -> None:
    """Wait until the kitchen has subscribed to its mail so often."""
    told = "gateway-kitchen-pi 1 gateway/kitchen-pi/mail/+"
    assert until(lambda: sum(told in line for line in broker.log) >= times, DEADLINE)


@pytest.fixture
def kitchen(houses: Houses, broker: Mosquitto) -> House:
    house = houses(KITCHEN)
    house.open()
    wait_until_subscribed(broker)
    return house


@pytest.fixture
def cook(kitchen: House) -> Any:
    return kitchen.bus.run(Cook, "cook")


@pytest.fixture
def living(houses: Houses, cook: Any) -> House:
    house = houses(LIVING)
    house.open()
    assert until(lambda: house.mail()["nodes_online"] == 1, DEADLINE)
    return house


@pytest.fixture
def guest(living: House) -> Any:
    return living.bus.run(Guest, "main")


def test_a_letter_reaches_the_other_gateway_and_its_reply_comes_back_in_the_thread(
    guest: Any, cook: Any
) -> None:
    letter = guest.send("cook@kitchen-pi", "boil", {"eggs": 2, "raw": b"\0"}, headers={"a": "b"})
    reply = guest.wait_for_reply(letter, DEADLINE)
    heard = cook.heard.get(timeout=DEADLINE)
    assert reply.body == {"cooked": {"eggs": 2, "raw": b"\0"}}
    assert (reply.sender, reply.thread_id, reply.thread_index) == (
        "cook@kitchen-pi",
        letter.thread_id,
        2,
    )
    assert reply.route == "mqtt"
    assert (heard.sender, heard.recipient, heard.route) == ("main@living-pi", "cook", "mqtt")
    assert (heard.thread_id, heard.thread_index) == (letter.thread_id, 1)
    assert heard.header("a") == "b"


def test_a_thread_goes_back_and_forth(guest: Any) -> None:
    assert guest.ask("cook@kitchen-pi", "ask back").body == 4


def test_a_bounce_of_the_far_side_comes_back_with_code_and_reason(guest: Any) -> None:
    with pytest.raises(LinkLostError, match="the stove is cold"):
        guest.ask("cook@kitchen-pi", "burn")
    with pytest.raises(AddressError, match="nobody here is called 'cok': did you mean 'cook'"):
        guest.ask("cok@kitchen-pi", "boil")
    with pytest.raises(GatewayError, match=r"NaN|nan"):
        guest.ask("cook@kitchen-pi", "nan")


def test_a_lost_reply_ends_at_the_deadline(guest: Any) -> None:
    with pytest.raises(CallTimeoutError, match="cook@kitchen-pi"):
        guest.ask("cook@kitchen-pi", "hush", timeout=0.3)


def test_a_gateway_that_nobody_knows_is_an_error_that_names_those_that_are(guest: Any) -> None:
    with pytest.raises(AddressError, match="did you mean 'kitchen-pi'"):
        guest.ask("cook@kichen-pi", "boil")
    with pytest.raises(AddressError, match="the broker knows kitchen-pi"):
        guest.ask("cook@xyz", "boil")
    with pytest.raises(AddressError, match="this gateway itself: write to 'main'"):
        guest.ask("main@living-pi", "boil")


def test_a_route_that_was_misspelt_is_named(guest: Any) -> None:
    with pytest.raises(AddressError, match="did you mean 'mqtt'"):
        guest.ask("a/b@mqt", "boil")


def test_without_a_carrier_an_unknown_route_is_an_error_at_once(tmp_path: Path) -> None:
    with LittleBus(tmp_path / "bus") as bus:
        lonely: Any = bus.run(Guest, "main")
        with pytest.raises(AddressError, match="nobody here is called 'kitchen-pi'"):
            lonely.send("cook@kitchen-pi", "boil")


def test_mail_for_a_gateway_that_is_away_bounces_at_once(
    kitchen: House, guest: Any, living
) -> None:
    kitchen.close()
    assert until(lambda: living.mail()["nodes_online"] == 0, DEADLINE)
    with pytest.raises(LinkLostError, match="'kitchen-pi' is offline: the gateway was stopped"):
        guest.ask("cook@kitchen-pi", "boil")


def test_mail_may_wait_for_a_gateway_that_is_away(
    houses: Houses, kitchen: House, cook: Any
) -> None:
    kitchen.close()
    living = houses(LIVING, peers=_spooling())
    living.open()
    guest: Any = living.bus.run(Guest, "main")
    assert until(lambda: living.mail()["nodes"] == 1, DEADLINE)
    letters = [guest.send("cook@kitchen-pi", "boil", number) for number in range(100)]
    assert until(lambda: living.mail()["out"]["waiting"] == 100, DEADLINE)
    late = guest.send("cook@kitchen-pi", "boil", "late", expires_in=0.2, receipt=True)
    # Beside a route that has to wait for its turn it expires in the route's mailbox.
    with pytest.raises(ExpiredError, match=r"kitchen-pi|too old"):
        guest.wait_for_reply(late, DEADLINE)
    assert living.mail()["out"]["waiting"] == 100
    kitchen.open()
    for number, letter in enumerate(letters):
        assert guest.wait_for_reply(letter, DEADLINE).body == {"cooked": number}
    assert [cook.heard.get(timeout=DEADLINE).body for _ in letters] == list(range(100))


def test_what_waits_outlives_the_route(houses: Houses, kitchen: House, cook: Any) -> None:
    kitchen.close()
    living = houses(LIVING, peers=_spooling())
    living.open()
    guest: Any = living.bus.run(Guest, "main")
    letter = guest.send("cook@kitchen-pi", "boil", 7)
    assert until(lambda: living.mail()["out"]["waiting"] == 1, DEADLINE)
    living.close()
    kitchen.open()
    living.open()
    assert guest.wait_for_reply(letter, DEADLINE).body == {"cooked": 7}


def test_an_answer_finds_the_next_life_of_the_route_that_brought_the_letter(
    kitchen: House, living: House, guest: Any, cook: Any
) -> None:
    letter = guest.send("cook@kitchen-pi", "hush", 1)
    heard = cook.heard.get(timeout=DEADLINE)
    for house in (kitchen, living):
        house.close()
        house.open()
    assert until(lambda: house.mail()["nodes_online"] == 1, DEADLINE)
    cook.reply(heard, "at last")
    assert guest.wait_for_reply(letter, DEADLINE).body == "at last"


def test_nothing_comes_in_that_no_rule_allows(houses: Houses, broker: Mosquitto) -> None:
    rules = (MailRule(sender="main@living-pi", to="cook", subject="b*"),)
    kitchen, living = houses(KITCHEN, allow=rules), houses(LIVING, allow=())
    cook: Any = kitchen.bus.run(Cook, "cook")
    guest: Any = living.bus.run(Guest, "main")
    other: Any = living.bus.run(Guest, "other")
    for house in (kitchen, living):
        house.open()
    assert until(lambda: living.mail()["nodes_online"] == 1, DEADLINE)
    assert guest.ask("cook@kitchen-pi", "boil").body == {"cooked": None}
    for who, subject in ((guest, "fry"), (other, "boil"), (guest, "$statistics")):
        with pytest.raises(RefusedError, match=r"'kitchen-pi' lets '(main|other)@living-pi' not"):
            who.ask("cook@kitchen-pi", subject)
    with pytest.raises(RefusedError):
        cook.wait_for_reply(cook.send("main@living-pi", "how many"), DEADLINE)
    assert kitchen.mail()["in"]["not_allowed"] == 3


def test_a_letter_over_the_limit_is_refused(houses: Houses, cook: Any) -> None:
    living = houses(LIVING, max_payload=2000)
    living.open()
    guest: Any = living.bus.run(Guest, "main")
    with pytest.raises(RefusedError, match="more than max_payload = 2000"):
        guest.ask("cook@kitchen-pi", "boil", "x" * 3000)


def test_a_gateway_passes_no_mail_on(houses: Houses, living: House, guest: Any) -> None:
    with pytest.raises(RefusedError, match="passes no mail on"):
        guest.ask("cook@third-pi@kitchen-pi", "boil")


# Foreign clients


def letter(**changes: Any) -> str:
    return json.dumps(
        {
            "v": 1,
            "kind": "letter",
            "id": "1-1",
            "sender": "main",
            "recipient": "cook",
            "subject": "boil",
            "thread": "1-1",
            "index": 1,
            **changes,
        }
    )


@pytest.fixture
def answers(broker: Mosquitto) -> Iterator[Callable[[], dict[str, Any]]]:
    with broker.listen("gateway/attic-pi/mail/+") as heard:
        yield lambda: json.loads(heard.wait_for_next(lambda _: True).payload)


def test_an_envelope_that_is_replayed_is_answered_again_and_delivered_once(
    kitchen: House, cook: Any, broker: Mosquitto, answers: Any
) -> None:
    for _ in range(3):
        broker.pub("gateway/kitchen-pi/mail/attic-pi", letter(subject="hush"))
        assert answers() == {"kind": "taken", "v": 1, "to": "1-1"}
    assert cook.heard.get(timeout=DEADLINE).sender == "main@attic-pi"
    assert cook.heard.empty()
    assert kitchen.mail()["in"] == {"delivered": 1, "repeated": 2}
    kitchen.close()
    kitchen.open()
    wait_until_subscribed(broker, 2)
    broker.pub("gateway/kitchen-pi/mail/attic-pi", letter(subject="hush"))
    assert answers()["kind"] == "taken"
    assert cook.heard.empty()


@pytest.mark.parametrize(
    ("node", "payload", "kind"),
    [
        ("attic-pi", "", "no_envelope"),
        ("attic-pi", "no json", "no_envelope"),
        ("attic-pi", "[" * 5000, "no_envelope"),
        ("attic-pi", "5", "no_envelope"),
        ("attic-pi", letter(id="a b"), "no_envelope"),
        ("attic-pi", letter(sender=""), "no_envelope"),
        ("attic-pi", letter(ttl=-1), "no_envelope"),
        ("attic-pi", letter(headers={str(n): "x" for n in range(40)}), "no_envelope"),
        ("attic-pi", letter(subject="\ud800"), "no_envelope"),
        ("attic-pi", "x" * 70_000, "too_large"),
        ("kitchen-pi", letter(), "no_node"),
        ("a@b", letter(), "no_node"),
        ("attic-pi", letter(v=2), "version"),
    ],
)
@pytest.mark.usefixtures("uncollected")
def test_what_is_no_mail_is_counted_by_kind(
    kitchen: House, cook: Any, broker: Mosquitto, node: str, payload: str, kind: str
) -> None:
    broker.pub(f"gateway/kitchen-pi/mail/{node}", payload)
    assert until(lambda: kitchen.mail()["refused"] == {kind: 1}, DEADLINE)
    assert cook.heard.empty()


def test_mail_that_the_broker_retained_is_stale(houses: Houses, broker: Mosquitto) -> None:
    broker.pub("gateway/kitchen-pi/mail/attic-pi", letter(), retain=True)
    kitchen = houses(KITCHEN)
    cook: Any = kitchen.bus.run(Cook, "cook")
    kitchen.open()
    assert until(lambda: kitchen.mail()["refused"] == {"stale": 1}, DEADLINE)
    assert cook.heard.empty()


@pytest.mark.parametrize(
    ("node", "changes", "code"),
    [
        ("attic-pi", {"v": 2}, "protocol"),
        ("attic-pi", {"recipient": "nobody"}, "unknown_address"),
        ("attic-pi", {"recipient": "a@"}, "unknown_address"),
        ("attic-pi", {"sender": "\n"}, "unknown_address"),
    ],
)
def test_a_letter_that_cannot_be_delivered_bounces(
    kitchen: House, broker: Mosquitto, answers: Any, node: str, changes: Any, code: str
) -> None:
    broker.pub(f"gateway/kitchen-pi/mail/{node}", letter(**changes))
    said = answers()
    assert (said["kind"], said["to"], said["code"]) == ("bounce", "1-1", code)


def test_no_gateway_can_look_like_one_of_the_house(
    kitchen: House, cook: Any, broker: Mosquitto
) -> None:
    with broker.listen("gateway/cook/mail/+") as heard:
        broker.pub("gateway/kitchen-pi/mail/cook", letter(sender="x"))
        said = json.loads(heard.wait_for_count(1)[0].payload)
    assert (said["code"], cook.heard.empty()) == ("refused", True)
    assert "would look local" in said["reason"]


class Deaf(Process):
    """Plays the serial router of a device that does not answer."""

    def birth(self) -> None:
        self.asked: SimpleQueue[Message] = SimpleQueue()
        info: dict[str, Any] = {"commands": {"led": {"parameters": {}}}}
        self.publish("devices/board/info", info, retain=True)
        self.add_filter(callback=self.asked.put, kind="^letter$")


def test_mail_in_the_thread_of_a_call_is_not_taken_for_its_answer(
    houses: Houses, broker: Mosquitto, answers: Any
) -> None:
    kitchen = houses(KITCHEN, rules=(Rule(to="*", subject="*"),))
    deaf: Any = kitchen.bus.run(Deaf, "serial")
    kitchen.bus.run(Cook, "cook")
    kitchen.open()
    wait_until_subscribed(broker)
    with broker.listen("gateway/kitchen-pi/devices/board/led/reply") as heard:
        broker.pub("gateway/kitchen-pi/devices/board/led/call", "{}")
        asked = deaf.asked.get(timeout=DEADLINE)
        broker.pub("gateway/kitchen-pi/mail/attic-pi", letter(thread=asked.thread_id))
        assert {answers()["kind"], answers()["kind"]} == {"taken", "reply"}
        deaf.reply(asked, "at last")
        (said,) = heard.wait_for_count(1)
    assert json.loads(said.payload)["result"] == "at last"


def test_an_answer_that_nobody_asked_for_is_dropped(
    kitchen: House, living: House, guest: Any, cook: Any, broker: Mosquitto
) -> None:
    asked = guest.send("cook@kitchen-pi", "hush")
    cook.heard.get(timeout=DEADLINE)
    forged = {"v": 1, "kind": "reply", "to": asked.message_id, "id": "1", "subject": "x"}
    broker.pub("gateway/living-pi/mail/attic-pi", json.dumps(forged))
    broker.pub("gateway/living-pi/mail/kitchen-pi", json.dumps({**forged, "to": "x-1"}))
    assert until(lambda: living.mail()["out"].get("unasked") == 2, DEADLINE)
    with pytest.raises(CallTimeoutError):
        guest.wait_for_reply(asked, 0.05)


def test_a_letter_that_nobody_confirms_is_repeated_and_bounces_in_doubt(
    houses: Houses, broker: Mosquitto
) -> None:
    broker.pub("gateway/attic-pi/status", '{"online": true, "cause": ""}', retain=True)
    living = houses(LIVING, patience=3.0)
    living.open()
    guest: Any = living.bus.run(Guest, "main")
    with broker.listen("gateway/attic-pi/mail/living-pi") as heard:
        with pytest.raises(CallTimeoutError, match="whether it was delivered is not known"):
            guest.ask("x@attic-pi", "boil", timeout=3 * DEADLINE)
        said = [json.loads(each.payload) for each in heard.wait_for_count(2)]
    assert said[0]["id"] == said[1]["id"]


def test_without_a_broker_mail_bounces_or_waits(houses: Houses, broker: Mosquitto) -> None:
    broker.kill()
    living = houses(LIVING, peers=_spooling())
    living.open()
    guest: Any = living.bus.run(Guest, "main")
    with pytest.raises(LinkLostError, match="no broker"):
        guest.ask("x@attic-pi", "boil")
    letter = guest.send("cook@kitchen-pi", "boil", 1)
    assert until(lambda: living.mail()["out"]["waiting"] == 1, DEADLINE)
    broker.start()
    kitchen = houses(KITCHEN)
    kitchen.bus.run(Cook, "cook")
    kitchen.open()
    assert guest.wait_for_reply(letter, DEADLINE).body == {"cooked": 1}


def test_only_peers_may_write_and_be_written_to(houses: Houses, kitchen: House, cook: Any) -> None:
    living = houses(LIVING, peers=_spooling(), only_peers=True)
    attic = houses("attic-pi")
    for house in (living, attic):
        house.open()
    guest: Any = living.bus.run(Guest, "main")
    stranger: Any = attic.bus.run(Guest, "main")
    assert until(lambda: attic.mail()["nodes_online"] == 2, DEADLINE)
    assert guest.ask("cook@kitchen-pi", "boil").body == {"cooked": None}
    with pytest.raises(AddressError, match="there are kitchen-pi"):
        guest.ask("main@attic-pi", "how many")
    with pytest.raises(RefusedError):
        stranger.ask("main@living-pi", "how many")
    assert living.mail()["nodes"] == 1


ACL = """
pattern read gateway/%u/#
pattern read gateway/+/status
pattern write gateway/+/mail/%u
pattern write gateway/%u/#
"""


def test_a_broker_holds_each_gateway_to_its_name(tmp_path: Path) -> None:
    names = {name: f"of-{name}" for name in (KITCHEN, LIVING)}
    with (
        Mosquitto(passwords=names, files={"acl": ACL}, lines=["acl_file acl"]) as broker,
        LittleBus(tmp_path / "kitchen") as bus,
        LittleBus(tmp_path / "living") as other,
    ):
        routers = {}
        for node, on in ((KITCHEN, bus), (LIVING, other)):
            (tmp_path / node).write_text(names[node])
            settings = Settings(
                broker=broker.url,
                username=node,
                password_file=str(tmp_path / node),
                spool=SpoolSettings(bytes=0),
                mail=MailSettings(allow=OPEN),
            )
            routers[node] = on.run(MqttRouter, "mqtt", settings=settings, node=node)
        cook: Any = bus.run(Cook, "cook")
        guest: Any = other.run(Guest, "main")
        living: Any = routers[LIVING]
        assert until(
            lambda: statistics(living)["mail_between_gateways"]["nodes_online"] == 1, DEADLINE
        )
        assert guest.ask("cook@kitchen-pi", "boil").sender == "cook@kitchen-pi"
        cook.heard.get(timeout=DEADLINE)
        who: dict[str, Any] = {"username": LIVING, "password": names[LIVING]}
        for node in ("attic-pi", KITCHEN):
            with pytest.raises(RuntimeError, match=r"(?i)not authori"):
                broker.pub(f"gateway/kitchen-pi/mail/{node}", letter(), **who)
        broker.pub("gateway/kitchen-pi/mail/living-pi", letter(), **who)
        assert cook.heard.get(timeout=DEADLINE).sender == "main@living-pi"


def test_where_nothing_can_be_remembered_there_is_no_mail_but_all_the_rest(
    houses: Houses, broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    kitchen = houses(KITCHEN)
    in_the_way = kitchen.bus.office.spool_folder("mqtt.mail")
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file")
    kitchen.open()
    broker.wait_for_log(r"gateway-kitchen-pi 1 gateway/kitchen-pi/devices/\+/\+/call")
    assert kitchen.mail() is None
    assert "carries no mail between gateways" in caplog.text


def _spooling() -> dict[str, PeerSettings]:
    return {KITCHEN: PeerSettings(offline="spool")}
