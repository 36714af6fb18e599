"""The switches of remote calls; see `tests.features.switches`."""

from __future__ import annotations

from functools import partial
from typing import Any

from gateway.errors import GatewayError, RefusedError
from gateway.rpc.terms import Terms
from gateway.rpc.tree import Remote
from tests.features.switches import nothing, replace, switch, without_term

# Trees


@switch
def depth() -> None:
    def flat(place: Remote, name: str) -> Remote:
        if name.startswith("_"):
            raise AttributeError(name)
        return Remote(place._line, place._address, name, place._terms)

    replace("gateway.rpc.tree:Remote.__getattr__", flat)


@switch
def usual_deadline() -> None:
    replace("gateway.rpc.tree:Terms", lambda: Terms(timeout=600.0))


@switch
def timeout() -> None:
    without_term("timeout")


@switch
def terms_of_a_branch() -> None:
    def usual(place: Remote, name: str) -> Remote:
        if name.startswith("_"):
            raise AttributeError(name)
        below = f"{place._path}.{name}" if place._path else name
        return Remote(place._line, place._address, below, Terms())

    replace("gateway.rpc.tree:Remote.__getattr__", usual)


@switch
def not_waiting() -> None:
    without_term("sync")


@switch
def callbacks() -> None:
    replace("gateway.rpc.transaction:Transaction.add_done_callback", nothing)


@switch
def releasing() -> None:
    replace("gateway.rpc.calls:releasing", lambda target: nothing)


@switch
def attendant() -> None:
    replace("gateway.rpc.calls:Calls._attend", nothing)


@switch
def events() -> None:
    without_term("solicited")


@switch
def silence_after_events() -> None:
    replace("gateway.rpc.answers:is_solicited", lambda message: True)
    replace("gateway.process.writer:is_solicited", lambda message: True)


@switch
def ignoring_errors() -> None:
    without_term("ignore_errors")


# Handlers


@switch
def marked_methods() -> None:
    replace("gateway.rpc.serving:marked_in", lambda kind: [])


@switch
def registering() -> None:
    def only_marked(api: Any, path: str, function: Any = None, *, typed: bool = False) -> Any:
        if typed:
            return before(api, path, function, typed=typed)
        return None if function else lambda function: function

    before: Any = replace("gateway.rpc.api:Api.add", only_marked)


@switch
def branches() -> None:
    before: Any = replace("gateway.rpc.api:Api.branch", lambda api, path: before(api, "elsewhere"))


@switch
def catch_alls() -> None:
    replace("gateway.rpc.api:Api.catch_all", nothing)


@switch
def generic_handlers() -> None:
    replace("gateway.rpc.api:Api.otherwise", nothing)


@switch
def unknown_paths() -> None:
    replace("gateway.rpc.desk:unknown", lambda *told: RefusedError("no"))


@switch
def next_handler() -> None:
    replace("gateway.rpc.desk:Unhandled", type("Nobody", (), {}))


@switch
def workers() -> None:
    before: Any = replace(
        "gateway.rpc.desk:Desk.serve",
        lambda desk, api, at="", *, workers=0, waiting=64: before(desk, api, at),
    )


@switch
def waiting_bound() -> None:
    before: Any = replace(
        "gateway.rpc.desk:Desk.serve",
        lambda desk, api, at="", *, workers=0, waiting=64: before(
            desk, api, at, workers=workers, waiting=9999
        ),
    )


@switch
def several_apis() -> None:
    replace(
        "gateway.rpc.catalogue:Served.within",
        lambda served, subject: None if served.at else subject,
    )


@switch
def knowing_the_caller() -> None:
    replace("gateway.rpc.desk:owner_of", lambda message: ("", 0, ""))
    replace("gateway.rpc.stream_desk:owner_of", lambda message: ("", 0, ""))


# Transactions


@switch
def typed_ids() -> None:
    from gateway.rpc.transaction import TransactionId

    replace("gateway.rpc.under_way:TransactionId", lambda *told: TransactionId("", 0, told[2]))


@switch
def ending_once() -> None:
    def end(transaction: Any, result: Any, error: Any) -> bool:
        transaction._result, transaction._error, transaction._is_done = result, error, True
        return True

    replace("gateway.rpc.transaction:Transaction._end", end)


@switch
def knowing_late_answers() -> None:
    replace(
        "gateway.bus.lanes:Lanes.close_call", lambda lanes, id: lanes.calls.pop(id, None) and None
    )


@switch
def death_notices() -> None:
    replace("gateway.bus.mailbox:Mailbox.fail_calls", nothing)


@switch
def taking_back() -> None:
    replace("gateway.rpc.calls:Calls.take_back", nothing)


@switch
def calls_of_the_dead() -> None:
    replace("gateway.rpc.desk:Desk._gone", nothing)


@switch
def statistics() -> None:
    replace("gateway.rpc.calls:Calls.statistics", lambda calls: {"under_way": 0})


@switch
def forgetting() -> None:
    def keep(calls: Any, call: Any, how: str) -> None:
        calls._box.close_call(call)

    replace("gateway.rpc.calls:Calls.forget", keep)


@switch
def matching_answers() -> None:
    def swap(lanes: Any, message: Any) -> Any:
        """Give whatever answer comes to whoever has asked last."""
        for call in reversed(list(lanes.calls.values())):
            if call.reply is None and message.in_reply_to is not None:
                call.reply = message
                return call
        return before(lanes, message)

    before: Any = replace("gateway.bus.lanes:Lanes.push_urgent", swap)


# Errors


@switch
def remote_types() -> None:
    replace("gateway.rpc.desk:as_gateway_error", lambda bug: GatewayError(str(bug)))


@switch
def remote_errors() -> None:
    replace("gateway.errors:_remote_class", lambda name: lambda *told: GatewayError(told[0]))


@switch
def known_errors() -> None:
    replace("gateway.errors:known", lambda error: error)


@switch
def tracebacks() -> None:
    before: Any = replace("gateway.mail.message:described", lambda error, inside: before(error))


@switch
def hiding_tracebacks() -> None:
    before: Any = replace(
        "gateway.mail.message:described", lambda error, inside: before(error, inside=True)
    )


@switch
def checking_arguments() -> None:
    replace("gateway.mail.signature:Command.check", lambda command, body: body or {})


@switch
def refusing_what_cannot_be_sent() -> None:
    replace("gateway.rpc.arguments:plain", lambda value, where: None)


# Streams


@switch
def streams() -> None:
    replace("gateway.rpc.desk:isgenerator", lambda result: False)


@switch
def parts_as_they_come() -> None:
    from gateway.rpc.open_stream import OpenStream

    def wants_more(stream: OpenStream, told: Any, most: int, seconds: float) -> bool:
        return len(told["parts"]) < 64

    replace("gateway.rpc.open_stream:OpenStream.wants_more", wants_more)


@switch
def flow_control() -> None:
    replace(
        "gateway.rpc.open_stream:OpenStream.wants_more",
        lambda stream, told, most, seconds: len(told["parts"]) < 5_000,
    )


@switch
def combining() -> None:
    without_term("combine")


@switch
def closing_streams() -> None:
    def leave(stream: Any) -> None:
        stream._parts, stream._coming, stream._is_open = iter(()), None, False

    replace("gateway.rpc.stream:Stream.close", leave)
    replace("gateway.rpc.stream:Parts.__del__", nothing)


@switch
def errors_in_streams() -> None:
    replace(
        "gateway.rpc.open_stream:OpenStream.tell_of",
        lambda stream, bug, told: told.update(more=False),
    )


@switch
def streams_of_the_dead() -> None:
    replace("gateway.rpc.streams:Streams.close_of", nothing)


@switch
def owners_of_streams() -> None:
    knowing_the_caller()
    replace("gateway.rpc.open_stream:owner_of", lambda message: ("", 0, ""))


@switch
def bound_on_streams() -> None:
    replace("gateway.rpc.streams:MOST", 100_000)


# Connections and maps


@switch
def watching_connections() -> None:
    replace("gateway.bus.office:Office.on_change", nothing)


@switch
def maps() -> None:
    replace("gateway.rpc.catalogue:Catalogue.describe", lambda catalogue: {})


@switch
def completion() -> None:
    replace("gateway.rpc.tree:Remote.__dir__", lambda place: [])


@switch
def telling() -> None:
    replace("gateway.rpc.calls:Calls.tell", nothing)


@switch
def reading_while_one_waits() -> None:
    replace("gateway.bus.patience:Patience._read", lambda patience: False)


# Asyncio


@switch
def awaiting_calls() -> None:
    async def never(*told: Any) -> None:
        raise GatewayError("nobody asks")

    replace("gateway.rpc.aio_calls:AsyncCalls._ask", never)


@switch
def coroutines() -> None:
    replace("gateway.rpc.desk:isawaitable", lambda result: False)


@switch
def cancelling_coroutines() -> None:
    from gateway.rpc.desk import Desk

    replace("gateway.rpc.aio_desk:AsyncDesk._taken_back", partial(_base, Desk._taken_back))


def _base(method: Any, desk: Any, id: str) -> None:
    method(desk, id)


@switch
def asynchronous_generators() -> None:
    replace("gateway.rpc.aio_desk:isasyncgen", lambda result: False)
