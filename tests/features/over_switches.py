"""What turns off the calls from other programs, between gateways, of drivers and on the shell."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.features.switches import nothing, replace, switch


@switch
def calls_of_programs() -> None:
    replace("gateway.rpc.client_calls:calls_of_client", nothing)


@switch
def answers_in_any_order() -> None:
    def in_order(exchange: Any, session: Any, lines: list[dict[str, Any]]) -> None:
        oldest = [next(iter(session.asked))] if session.asked else []
        before(exchange, session, [{**said, "id": id} for id in oldest for said in lines])

    before = replace("gateway.client_exchange:Exchange._sort", in_order)


@switch
def callbacks_of_programs() -> None:
    replace("gateway.rpc.client_attendant:Attendant.attend", nothing)


@switch
def streams_at_the_door() -> None:
    def plain(id: Any, body: Any, subject: str = "") -> Any:
        return before(id, body)

    before = replace("routes.unix_socket.protocol:answer", plain)


@switch
def taking_back_at_the_door() -> None:
    replace("routes.unix_socket.letters:Letters._take_back", nothing)


@switch
def clients_told_apart() -> None:
    replace("routes.unix_socket.letters:Letters.check_own", nothing)


@switch
def room_for_others() -> None:
    def send(letters: Any, client: Any, request: Any) -> None:
        if letters._held._queues:
            # As if it were for who has no room.
            request = msgspec.structs.replace(request, to=next(iter(letters._held._queues)))
        before(letters, client, request)

    before = replace("routes.unix_socket.letters:Letters.send", send)


@switch
def deaths_at_the_door() -> None:
    replace("routes.unix_socket.router:UnixSocketRouter._on_gone", nothing)


@switch
def types_between_gateways() -> None:
    def plain(to: str, told: dict[str, Any]) -> Any:
        return before(to, {**told, "type": ""})

    before = replace("routes.mqtt.mail_in:bounce_from", plain)


@switch
def taking_back_between_gateways() -> None:
    replace("routes.mqtt.mail_in:_called", lambda letter, node: "")


@switch
def callers_between_gateways() -> None:
    replace("routes.mqtt.mail_brought:Brought.check", lambda brought, id, *who: id)


@switch
def commands_as_apis() -> None:
    replace("gateway.hosting.command_desk:CommandDesk._takes_own", nothing)


@switch
def events_for_devices() -> None:
    replace("gateway.hosting.command_desk:is_solicited", lambda message: True)


@switch
def words_as_values() -> None:
    def untyped(word: str, wanted: str, name: str = "") -> Any:
        return before(word, "", name)

    before = replace("gateway.cli.call:value_of", untyped)


@switch
def listing() -> None:
    replace("gateway.rpc.api_map:read_map", lambda told: {})


@switch
def stubs() -> None:
    replace("gateway.rpc.stubs:_type", lambda text, known: "Any")


@switch
def apis_in_the_configuration() -> None:
    from gateway.rpc.api import Api

    replace("gateway.rpc.configured:api_from", lambda functions: Api())


@switch
def checking_apis() -> None:
    replace("gateway.plugins:_callable", nothing)
