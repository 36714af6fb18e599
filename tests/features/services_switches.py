"""The switches of services; see `tests.features.switches`."""

from __future__ import annotations

import os
from typing import Any

from gateway.errors import BodyError, GatewayError, RefusedError
from gateway.process.process import Process
from gateway.rpc.terms import Terms
from gateway.services.proxy import Proxy
from gateway.services.service_line import ServiceRemote
from tests.features.switches import nothing, replace, switch

# Starting


@switch
def own_os_processes() -> None:
    def here(services: Any, name: str, factory: Any, /, *args: Any, **kwargs: Any) -> Any:
        return factory(*args, **kwargs)

    replace("gateway.services.registry:Services.start", here)


@switch
def factories() -> None:
    def of_classes(factory: Any) -> Any:
        if not isinstance(factory, type):
            raise RefusedError("a class, please")
        return before(factory)

    before: Any = replace("gateway.services.registry:name_of", of_classes)


@switch
def arguments_by_letter() -> None:
    def small(args: Any, kwargs: Any) -> Any:
        if len(repr((args, kwargs))) > 32_768:
            raise BodyError("too much for a member's data")
        return before(args, kwargs)

    before: Any = replace("gateway.services.registry:packed", small)


@switch
def unique_names() -> None:
    def taking(services: Any, name: str, factory: Any, /, *args: Any, **kwargs: Any) -> Any:
        if name in services.running():
            services.close(name)
        return before(services, name, factory, *args, **kwargs)

    before: Any = replace("gateway.services.registry:Services.start", taking)


@switch
def forgetting_members() -> None:
    replace("gateway.supervision.starting:Starting.forget", nothing)


@switch
def errors_of_constructors() -> None:
    replace("gateway.services.host:as_gateway_error", lambda bug: GatewayError("it failed"))


@switch
def giving_up_starts() -> None:
    replace("gateway.services.registry:Services._give_up", nothing)


@switch
def workers_of_services() -> None:
    def changed(terms: Any, **changes: Any) -> Any:
        changes.pop("workers", None)
        return before(terms, **changes)

    before: Any = replace("gateway.services.start_terms:StartTerms.changed", changed)


@switch
def grace() -> None:
    replace("gateway.services.host:ServiceHost.die", Process.die)
    # Nor does the boss do it in its place.
    replace("gateway.services.start_terms:BELATED", 60.0)


@switch
def services_within() -> None:
    replace("gateway.services.finder:note", nothing)


@switch
def contexts_of_objects() -> None:
    replace("gateway.services.host:_is_context", lambda target: False)


# What a proxy shows


@switch
def methods() -> None:
    def without(kind: type) -> dict[str, Any]:
        return {name: what for name, what in before(kind).items() if what != "method"}

    before: Any = replace("gateway.services.object_api:anatomy", without)


@switch
def reading_properties() -> None:
    def place(proxy: Any, name: str) -> Any:
        proxy._kind_of(name)
        return ServiceRemote(proxy._line, proxy._address, name, proxy._terms)

    replace("gateway.services.proxy:Proxy.__getattr__", place)


@switch
def setting_properties() -> None:
    def keep(proxy: Any, name: str, value: Any) -> None:
        if name.startswith("_"):
            proxy.__dict__[name] = value

    replace("gateway.services.proxy:Proxy.__setattr__", keep)


@switch
def attributes() -> None:
    replace("gateway.services.object_api:_attributes", lambda target: {})


@switch
def checking_what_is_set() -> None:
    replace("gateway.services.object_api:value_type", lambda kind, name: Any)


@switch
def completion_of_proxies() -> None:
    replace("gateway.services.proxy:Proxy.__dir__", object.__dir__)


@switch
def room_for_names() -> None:
    Proxy.close = nothing  # type: ignore[attr-defined]


@switch
def terms_of_proxies() -> None:
    replace("gateway.services.proxy:Proxy._with", lambda proxy, terms: proxy)


# Finding and closing


@switch
def truth_of_the_registry() -> None:
    known: set[str] = set()

    def remembering(services: Any) -> list[str]:
        known.update(before(services))
        return sorted(known)

    before: Any = replace("gateway.services.registry:Services.running", remembering)


@switch
def finding_services() -> None:
    def only_ours(services: Any) -> list[str]:
        return [proxy._address for proxy in services._started if proxy._line.is_alive()]

    replace("gateway.services.registry:Services.running", only_ours)


@switch
def closing_services() -> None:
    replace("gateway.services.registry:Services.close", nothing)


@switch
def closing_all() -> None:
    replace("gateway.services.registry:Services.close_all", lambda services: [])


@switch
def lives_of_proxies() -> None:
    def call(line: Any, address: str, *told: Any) -> Any:
        return line._calls.call(address, *told)

    replace("gateway.services.service_line:ServiceLine.call", call)
    replace("gateway.services.service_line:ServiceLine.is_alive", lambda line: True)


# Travelling


@switch
def sending_proxies() -> None:
    replace("gateway.services.proxy:Proxy.__refer__", None)


@switch
def returning_references() -> None:
    def fail(answers: Any, message: Any, result: Any, subject: str, error: Any) -> None:
        answers.fail(message, error)

    replace("gateway.rpc.answers:Answers._give_by_reference", fail)


@switch
def coming_home() -> None:
    replace("gateway.services.home:Home.refer", nothing)


@switch
def pickling() -> None:
    replace("gateway.services.proxy:found_here", nothing)


@switch
def doubting_the_outside() -> None:
    replace("gateway.rpc.answers:Answers.found_in", lambda answers, body, message: body)


@switch
def naming_what_cannot_be_sent() -> None:
    def silently(value: Any, where: str, known: Any = None) -> Any:
        try:
            return before(value, where, known)
        except BodyError:
            return None, False

    before: Any = replace("gateway.rpc.arguments:plain", silently)
    replace("gateway.rpc.answers:plain", silently)


@switch
def surviving_clients() -> None:
    def gone(desk: Any, name: str, incarnation: int) -> None:
        if name == "client" and desk._process.name == "robot":
            os._exit(1)

    replace("gateway.rpc.desk:Desk._gone", gone)


# Functions


@switch
def service_functions() -> None:
    replace("gateway.services.object_api:ObjectApi.add_function", nothing)


@switch
def removing_functions() -> None:
    replace("gateway.services.object_api:ObjectApi.remove_function", lambda api, name: True)


@switch
def refusing_outside() -> None:
    replace("gateway.services.inside:register_function", nothing)


@switch
def remote_functions() -> None:
    replace("gateway.services.remote_functions:RemoteFunction.__refer__", None)


@switch
def deadlines_of_functions() -> None:
    def patient(finder: Any, told: dict[str, Any]) -> Any:
        # Longer than whoever called waits for all of it.
        return before(finder, {**told, "timeout": 2 * Terms().timeout})

    before: Any = replace("gateway.services.home:function_at", patient)


@switch
def own_threads() -> None:
    def anywhere(functions: Any, function: Any) -> Any:
        return function

    replace("gateway.services.remote_functions:Functions._on_own_thread", anywhere)


@switch
def withdrawing_functions() -> None:
    replace("gateway.services.remote_functions:Functions.withdraw", nothing)


@switch
def names_of_functions() -> None:
    replace("gateway.services.registry:Services._functions", lambda services, timeout: {})
