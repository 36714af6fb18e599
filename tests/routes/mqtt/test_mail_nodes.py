"""Which gateways there are, from what is retained at the broker."""

from __future__ import annotations

import json

import pytest

from routes.mqtt import mail_nodes
from routes.mqtt.incoming import Incoming
from routes.mqtt.mail_nodes import Nodes


class Rung:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def rung() -> Rung:
    return Rung()


@pytest.fixture
def nodes(rung: Rung) -> Nodes:
    return Nodes("living-pi", rung)


def say(nodes: Nodes, node: str, payload: str) -> None:
    nodes.hear(Incoming(f"gateway/{node}/status", payload.encode()))


def online(node: str, *, is_online: bool = True) -> str:
    return json.dumps({"online": is_online, "cause": f"{node} says so", "node": node})


def test_a_status_is_noted_and_is_news_once(nodes: Nodes, rung: Rung) -> None:
    say(nodes, "kitchen-pi", online("kitchen-pi"))
    status = nodes.status("kitchen-pi")
    assert status is not None
    assert (status.online, status.cause, rung.times) == (True, "kitchen-pi says so", 1)
    assert (nodes.news(), nodes.news()) == (["kitchen-pi"], [])


def test_a_status_that_is_cleared_is_forgotten(nodes: Nodes) -> None:
    say(nodes, "kitchen-pi", online("kitchen-pi"))
    say(nodes, "kitchen-pi", "")
    assert nodes.status("kitchen-pi") is None
    assert nodes.hint("x") == "the broker knows no other gateway"


def test_our_own_is_no_other(nodes: Nodes, rung: Rung) -> None:
    say(nodes, "living-pi", online("living-pi"))
    assert (nodes.status("living-pi"), rung.times) == (None, 0)


@pytest.mark.parametrize("payload", ["x", "5", "[" * 4000, '{"online": "yes"}', "{}", "x" * 5000])
@pytest.mark.usefixtures("uncollected")
def test_what_is_no_status_is_counted(nodes: Nodes, payload: str) -> None:
    say(nodes, "kitchen-pi", payload)
    assert (nodes.status("kitchen-pi"), nodes.refused) == (None, 1)


def test_more_gateways_than_can_be_noted_are_counted(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail_nodes, "MOST", 2)
    for node in ("a", "b", "c"):
        say(nodes, node, online(node))
    say(nodes, "a", online("a", is_online=False))
    assert nodes.statistics() == {"nodes": 2, "nodes_online": 1, "statuses_refused": 1}


def test_who_may_have_been_meant_is_named(nodes: Nodes) -> None:
    for node in ("kitchen-pi", "attic"):
        say(nodes, node, online(node))
    assert nodes.hint("kichen-pi") == "did you mean 'kitchen-pi'?"
    assert nodes.hint("zzz") == "the broker knows attic, kitchen-pi"


def test_among_too_many_nobody_is_looked_for(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail_nodes, "COMPARED", 1)
    for node in ("kitchen-pi", "attic"):
        say(nodes, node, online(node))
    assert nodes.hint("kichen-pi") == "the broker knows attic, kitchen-pi"


def test_who_was_never_known_is_no_news_when_it_is_cleared(nodes: Nodes, rung: Rung) -> None:
    say(nodes, "nobody", "")
    say(nodes, "%F0%9F%92%A9", "")
    assert (nodes.news(), rung.times) == ([], 0)


def test_all_are_subscribed_to_or_only_some(nodes: Nodes) -> None:
    assert [each.subscription for each in nodes.inlets()] == ["gateway/+/status"]
    named = [each.subscription for each in nodes.inlets(["a", "b"])]
    assert named == ["gateway/a/status", "gateway/b/status"]
