"""The switches of simulations, pools and simulated hardware; see `tests.features.switches`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.errors import GatewayError, RefusedError
from tests.features.switches import nothing, replace, switch

SIMULATION = "gateway.services.simulation:Simulation"


def seen_as(name: str, value: Any) -> None:
    """Have a property of every simulation be ``value``."""
    replace(f"{SIMULATION}.{name}", property(lambda simulation: value, nothing))


# Simulations


@switch
def finishing() -> None:
    replace(f"{SIMULATION}.finish", nothing)


@switch
def status() -> None:
    seen_as("status", "running")


@switch
def beginning_step() -> None:
    def forget(simulation: Any) -> None:
        before(simulation)
        simulation._current_step = 0

    before = replace(f"{SIMULATION}._forget", forget)


@switch
def current_step() -> None:
    seen_as("current_step", 0)


@switch
def steering() -> None:
    replace(f"{SIMULATION}.steer", nothing)


@switch
def checking_parameters() -> None:
    replace("gateway.services.parameters:Parameters.check", lambda known, values: dict(values))


@switch
def error_messages() -> None:
    seen_as("error_message", "")


@switch
def profiling() -> None:
    replace("gateway.services.profile:Profile.report", lambda profile: {})


@switch
def stopping_simulations() -> None:
    replace("gateway.services.lifecycle:Lifecycle.heeds_stop", lambda life: False)


@switch
def stopping_at_rest() -> None:
    @contextmanager
    def at_rest(life: Any) -> Iterator[bool]:
        yield False

    replace("gateway.services.lifecycle:Lifecycle.at_rest", at_rest)


@switch
def terminating() -> None:
    replace("gateway.services.interruption:Interruptible.interrupt", nothing)


@switch
def names_of_simulations() -> None:
    seen_as("name", "a simulation")


@switch
def running_inside() -> None:
    from gateway.services.simulation import Simulation

    replace(f"{SIMULATION}.inside_run", Simulation.run)


@switch
def one_conductor() -> None:
    def claim(life: Any, conductor: int = -1) -> None:
        life._conductor = conductor

    replace("gateway.services.lifecycle:Lifecycle.claim", claim)


@switch
def execution_context() -> None:
    @contextmanager
    def execution(simulation: Any) -> Iterator[Any]:
        yield iter(())

    replace("gateway.services.execution_context:execution", execution)


@switch
def putting_back() -> None:
    replace("gateway.services.lifecycle:Lifecycle._put_back", nothing)


@switch
def pace() -> None:
    replace(f"{SIMULATION}._pace", nothing)


# Pools


@switch
def several_workers() -> None:
    def one(pool: Any, services: Any, **options: Any) -> None:
        before(pool, services, **{**options, "workers": 1})

    before = replace("gateway.services.pool:SimulationPool.__init__", one)


@switch
def order_of_outcomes() -> None:
    replace("gateway.services.pool:in_order", list)


@switch
def errors_of_items() -> None:
    replace("gateway.services.pool_run:error_from", lambda told: GatewayError("it failed"))


@switch
def progress_of_pools() -> None:
    def tell(run: Any, kind: str, *told: Any, **options: Any) -> None:
        if kind != "progress":
            before(run, kind, *told, **options)

    before = replace("gateway.services.pool_run:PoolRun._tell", tell)


@switch
def progress_lines() -> None:
    replace("gateway.services.progress_line:ProgressLine._write", nothing)


@switch
def cancelling_pools() -> None:
    def refuse(pool: Any) -> None:
        raise RefusedError("a run is not cancelled")

    replace("gateway.services.pool:SimulationPool.cancel", refuse)


@switch
def replacing_workers() -> None:
    replace("gateway.services.pool:SimulationPool.replace", nothing)


@switch
def ending_children() -> None:
    replace("gateway.services.pool_worker:PoolWorker.group", 0)


# Simulated hardware


@switch
def cables() -> None:
    replace("gateway.services.simulated_device:SimulatedDevice.unplug", nothing)


@switch
def hanging() -> None:
    replace("gateway.device.board_faults:BoardFaults.hang", nothing)


@switch
def noise() -> None:
    replace("gateway.device.board_faults:BoardFaults.make_noise", nothing)


@switch
def drift() -> None:
    replace("gateway.device.board_clock:BoardClock.drift", nothing)


@switch
def steps_of_devices() -> None:
    replace("gateway.device.board_faults:BoardFaults.step", nothing)


@switch
def ports_in_place() -> None:
    replace("gateway.cli.simulation.plan:why_not_at", lambda path: "it may not")


@switch
def sparing_what_is_there() -> None:
    replace("gateway.cli.simulation.plan:why_not_at", lambda path: "")


@switch
def derived_configurations() -> None:
    replace("gateway.cli.simulation.derived:toml_text", lambda document: "")


@switch
def prompt() -> None:
    replace("gateway.cli.simulation.wish:understood", nothing)
