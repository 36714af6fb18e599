from __future__ import annotations

import os
from collections.abc import Callable

import msgspec
import pytest

from gateway.config.schema import Configuration, HealthSettings, NoSettings

Load = Callable[[str], Configuration]
Mistakes = Callable[[str], list[str]]

HOUSE = """
[gateway]
node = "kitchen-pi"
log_level = "debug"

[routes.serial]
rescan = 0.5

[routes.second]
type = "serial"

[routes.mqtt]

[devices.wheels]
driver = "board"
port = "/dev/a"
baud = 9600
settings = { rate = 50 }

[devices.light]
driver = "lamp"
route = "second"
port = "/dev/b"
"""


def as_data(struct: msgspec.Struct) -> object:
    return msgspec.to_builtins(struct)


def test_every_route_is_watched_unless_that_is_switched_off(loaded: Load) -> None:
    routes = loaded("""
[routes.serial]
stuck_after = 0

[routes.second]
type = "serial"
rescan = 0.5
stuck_after = 3
when_stuck = "report"

[routes.mqtt]
""").routes
    watched = {name: (each.stuck_after, each.when_stuck) for name, each in routes.items()}
    assert watched == {
        "serial": (0.0, "restart"),
        "second": (3.0, "report"),
        "mqtt": (30.0, "restart"),
    }
    assert as_data(routes["second"].settings) == {"rescan": 0.5}


def test_a_whole_house(loaded: Load) -> None:
    house = loaded(HOUSE)
    assert house.gateway.node == "kitchen-pi"
    assert house.gateway.log_level == "debug"
    assert house.gateway.sockets == "/run/gateway"
    kinds = {name: (route.name, route.type) for name, route in house.routes.items()}
    assert kinds == {
        "serial": ("serial", "serial"),
        "second": ("second", "serial"),
        "mqtt": ("mqtt", "mqtt"),
    }
    assert as_data(house.routes["serial"].settings) == {"rescan": 0.5}
    assert house.routes["mqtt"].settings == NoSettings()
    wheels, light = house.devices["wheels"], house.devices["light"]
    assert (wheels.name, wheels.driver, wheels.route) == ("wheels", "board", "serial")
    assert as_data(wheels.link) == {"port": "/dev/a", "baud": 9600}
    assert as_data(wheels.settings) == {"rate": 50}
    assert (light.route, light.settings) == ("second", NoSettings())
    assert str(house.provenance.of("devices", "wheels", "settings", "rate")).endswith(":18")


def test_health_is_reported_unless_told_otherwise(loaded: Load) -> None:
    assert loaded("").health == HealthSettings(enabled=True, period=30.0)
    house = loaded("[health]\nenabled = false\ntemperature_warning = 70")
    assert (house.health.enabled, house.health.temperature_warning) == (False, 70.0)


def test_nothing_configured_is_a_configuration(loaded: Load) -> None:
    house = loaded("")
    assert house.gateway.node == os.uname().nodename
    assert (house.routes, house.devices) == ({}, {})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[device.a]", ["1: device: unknown key; did you mean 'devices'?"]),
        ("gateway = 1", ["1: gateway: cannot be 1; write a table: [gateway]"]),
        ("routes = []", ["1: routes: cannot be an array; write a table: [routes]"]),
        (
            "[[routes]]\nname = 'mqtt'",
            ["1: routes: cannot be an array; write one table for each: [routes.NAME]"],
        ),
        ("[routes]\nmqtt = 'on'", ['2: routes.mqtt: cannot be "on"; write a table: [routes.mqtt]']),
        ("[gateway]\nnoed = 'a'", ["2: gateway.noed: unknown key; did you mean 'node'?"]),
        ("[gateway]\nnode = 'a/b'", ['2: gateway.node: cannot be "a/b"; write text: letters, …']),
        ("[gateway]\nsockets = 'run'", ['2: gateway.sockets: cannot be "run"; write text: a f…']),
        (
            "[health]\nperiod = 0",
            ["2: health.period: cannot be 0; write a number from 1 to 86400 (…"],
        ),
        ("[health]\nstate = 'x'", ['2: health.state: cannot be "x"; write text: a folder, from …']),
        ("[health]\nenable = true", ["2: health.enable: unknown key; did you mean 'enabled'?"]),
        (
            "[health]\ntemperature_warning = 90",
            ["2: health.temperature_warning: temperature_warning is above temperature_critical: …"],
        ),
        (
            "[routes.health]\ntype = 'mqtt'",
            ["1: routes.health: the gateway itself has a process 'health'; …"],
        ),
        ("[routes.'a b']\ntype = 'mqtt'", ['1: routes."a b": cannot be a name; use letters, …']),
        ("[routes.ros]", ["1: routes.ros: no 'ros'; ask"]),
        ("[routes.m]\ntype = 'ros'", ["2: routes.m.type: no 'ros'; ask"]),
        ("[routes.m]\ntype = 3", ['2: routes.m.type: cannot be 3; write text: "3" with quotes']),
        ("[routes.broken]", ["1: routes.broken: it is broken"]),
        (
            "[routes.mqtt]\nhost = 1",
            ["2: routes.mqtt.host: unknown key; one of: type, stuck_after, when_stuck"],
        ),
        (
            "[routes.serial]\nstuck_afer = 1",
            ["2: routes.serial.stuck_afer: unknown key; did you mean 'stuck_after'?"],
        ),
        (
            "[routes.serial]\nstuck_after = -1",
            ["2: routes.serial.stuck_after: cannot be -1; write a number from 0 to 2000000"],
        ),
        (
            "[routes.serial]\nstuck_after = inf",
            ["2: routes.serial.stuck_after: cannot be inf; write a number from 0 to 2000000"],
        ),
        (
            "[routes.serial]\nstuck_after = 1e10",
            ["2: routes.serial.stuck_after: cannot be 10000000000.0; write a number from 0 to 20…"],
        ),
        (
            "[routes.serial]\nwhen_stuck = 'kill'",
            ['2: routes.serial.when_stuck: cannot be "kill"; write one of "report", "restart"'],
        ),
        (
            "[routes.own]\ntype = 'greedy'\nstuck_after = 1",
            [
                "1: routes.own: every route has 'stuck_after', so the router 'greedy' would never…",
                "1: routes.own: every route has 'type', so the router 'greedy' would never hear …",
            ],
        ),
        ("[routes.ros]\nstuck_after = 1", ["1: routes.ros: no 'ros'; ask"]),
        ("[routes.serial]\ntyp = 'serial'", ["2: routes.serial.typ: unknown key; did you mean …"]),
    ],
)
def test_mistakes_outside_devices(mistakes: Mistakes, text: str, said: list[str]) -> None:
    found = mistakes(text)
    assert len(found) == len(said)
    for one, wanted in zip(found, said, strict=True):
        assert one.startswith(wanted.removesuffix("…"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("driver = 'baord'\nport = 'p'", ["6: devices.a.driver: no 'baord'; ask"]),
        ("port = 'p'", ["5: devices.a.driver: is missing; write text"]),
        ("driver = 'board'", ["5: devices.a.port: is missing; write text"]),
        (
            "driver = 'board'\nport = 'p'\nroute = 'seriell'",
            ["8: devices.a.route: there is no route 'seriell'; did you mean 'serial'?, or add …"],
        ),
        (
            "driver = 'board'\nroute = 'mqtt'",
            ["7: devices.a.route: the route 'mqtt' hosts no devices; name one that does, …"],
        ),
        (
            "drivr = 'board'\nport = 'p'",
            [
                "5: devices.a.driver: is missing; write text",
                "6: devices.a.drivr: unknown key; did you mean 'driver'?",
            ],
        ),
        (
            "driver = 'lamp'\nport = 'p'\n[devices.a.settings]\nx = 1",
            ["9: devices.a.settings.x: unknown key; this table takes no keys: remove it"],
        ),
        (
            "route = 7\ndriver = 'board'\nsettings.rate = 101",
            [
                '6: devices.a.route: cannot be 7; write text: "7" with quotes',
                "8: devices.a.settings.rate: cannot be 101; write a whole number from 0 to 100",
            ],
        ),
    ],
)
def test_mistakes_in_a_device(mistakes: Mistakes, keys: str, said: list[str]) -> None:
    found = mistakes(f"[routes.serial]\n\n[routes.mqtt]\n\n[devices.a]\n{keys}\n")
    assert len(found) == len(said)
    for one, wanted in zip(found, said, strict=True):
        assert one.startswith(wanted.removesuffix("…"))


def test_a_device_on_a_route_whose_router_is_unknown_is_not_blamed(mistakes: Mistakes) -> None:
    found = mistakes("[routes.ros]\n[devices.a]\ndriver = 'board'\nroute = 'ros'\nanything = 1\n")
    assert found == ["1: routes.ros: no 'ros'; ask"]


def test_a_section_that_is_misspelt_is_named_once(mistakes: Mistakes) -> None:
    found = mistakes("[routes.serail]\n[devices.a]\ndriver = 'board'\nport = 'p'\n")
    assert found == ["1: routes.serail: no 'serail'; ask"]


def test_a_device_whose_route_is_misspelt_as_well_is_named_too(mistakes: Mistakes) -> None:
    found = mistakes("[routes.serail]\n[devices.a]\ndriver = 'board'\nroute = 'seriell'\n")
    assert [one.split(": ")[1] for one in found] == ["routes.serail", "devices.a.route"]


def test_mistakes_come_in_the_order_of_their_lines(mistakes: Mistakes) -> None:
    found = mistakes("[devices.a]\nbaud = 1\n[routes.serial]\nrescan = 0\n[gateway]\nx = 1\n")
    assert [int(one.split(":")[0]) for one in found] == [1, 1, 2, 4, 6]


def test_a_router_with_a_setting_that_every_route_has_is_told_to_rename_it(
    mistakes: Mistakes,
) -> None:
    found = mistakes("[routes.greedy]")
    assert len(found) == 2
    assert all(said.endswith("; rename that field in its Settings") for said in found)


def test_a_router_with_a_key_that_every_device_has_is_told_to_rename_it(
    mistakes: Mistakes,
) -> None:
    found = mistakes("[routes.own]\ntype = 'grabby'\n[devices.a]\ndriver = 'lamp'\nroute = 'own'")
    told = ", so the router 'own' would never hear of its own; rename that field in its"
    assert found == [
        f"3: devices.a: every device has {key!r}{told} DeviceSettings"
        for key in ("driver", "settings")
    ]
