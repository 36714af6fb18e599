"""What a session's network thread does: connect, serve, come back.

The thread survives whatever a callback or paho raises: it is logged, counted
as a fault, and costs the connection, never the thread. It sleeps until the
socket or a caller has something for it, or paho's keepalive wants a look.

Refuses nothing itself; a broker that is not there, refuses us or falls silent
is a state with a cause, and another attempt after a back-off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from gateway.backoff import Backoff
from gateway.clock import Clock
from gateway.errors import ConfigError
from routes.mqtt import causes
from routes.mqtt.connection import Connection
from routes.mqtt.connection_state import ConnectionState, State
from routes.mqtt.exchange import Exchange
from routes.mqtt.incoming import Incoming
from routes.mqtt.login import Login, Will, read_login
from routes.mqtt.protocol_choice import ProtocolChoice
from routes.mqtt.serving import STOPPED, Serving
from routes.mqtt.settings import SessionSettings
from routes.mqtt.standing import Standing

log = logging.getLogger(__name__)

_HEADROOM = 1 << 20
"""Bytes that an incoming packet may have beyond ``max_payload``: enough for
the caller of a command that is too large to be told so."""


class Status(msgspec.Struct, frozen=True):
    """The retained birth, the retained farewell, and the will (JSON bytes)."""

    topic: str
    online: bytes
    offline: bytes
    lost: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Calling:
    """As whom the session calls, for what, and who listens."""

    client_id: str
    status: Status
    subscriptions: tuple[str, ...]
    on_message: Callable[[Incoming], None]
    on_state: Callable[[ConnectionState], None]


class NetworkLoop:
    """The body of the network thread; `run` is called once, on that thread."""

    def __init__(
        self,
        settings: SessionSettings,
        exchange: Exchange,
        *,
        calling: Calling,
        clock: Clock,
        backoff: Backoff,
        throttle: Backoff,
    ) -> None:
        """``backoff`` is for connections, ``throttle`` for letters that find no room."""
        self._settings = settings
        self._exchange = exchange
        self._calling = calling
        self._clock = clock
        self._backoff = backoff
        self._url = settings.url
        self._choice = ProtocolChoice()
        self._standing = Standing(settings.retry_ceiling)
        self._serving = Serving(
            settings,
            exchange,
            standing=self._standing,
            clock=clock,
            backoff=backoff,
            throttle=throttle,
            on_message=calling.on_message,
        )

    def run(self) -> None:
        """Keep a connection until the exchange says stop."""
        try:
            while not self._exchange.leaving:
                if not self._live_guarded():
                    self._exchange.stopping.wait(self._backoff.next())
        finally:
            self._enter("disconnected", STOPPED)
            self._exchange.close()

    def _live_guarded(self) -> bool:
        """Live through one connection; return whether to try again at once."""
        try:
            return self._live()
        except ConfigError as error:
            self._enter("disconnected", str(error))
        # The supervisor of this thread: whatever went wrong, it goes on.
        except Exception as error:
            self._exchange.count("faults")
            log.exception("%s: a fault of our own cost the connection", self._url)
            what = f"{type(error).__name__}: {error}"
            self._enter("disconnected", f"a fault of the gateway's own: {what}")
        return False

    def _live(self) -> bool:
        self._exchange.count("attempts")
        timeout = self._choice.patience(self._settings.connect_timeout)
        connection = self._make_connection()
        try:
            try:
                connection.open()
            except (OSError, UnicodeError) as error:
                self._choice.ended()
                self._standing.ended_otherwise()
                self._enter("disconnected", self._cause_of_error(error))
                return False
            in_time = self._await_answer(connection, timeout)
            if self._exchange.stopping.is_set():
                # The CONNECT is on its way: unless leave is taken, the will follows.
                connection.disconnect()
                return False
            if connection.admitted and not self._choice.probing:
                cause = self._serve(connection)
                self._choice.ended()
                self._enter("disconnected", cause)
                return False
            if connection.admitted:
                connection.disconnect()
                self._choice.answered()
                return False
            return self._judge_failure(connection, timeout, in_time=in_time)
        finally:
            if connection.violation or connection.oversized:
                self._exchange.count("violations")
            connection.close()
            self._exchange.lost()

    def _make_connection(self) -> Connection:
        settings, calling, choice = self._settings, self._calling, self._choice
        login = read_login(settings, calling.client_id)
        status = calling.status
        return Connection(
            self._url,
            version=choice.version,
            login=Login(client_id="", tls=login.tls) if choice.probing else login,
            will=None if choice.probing else Will(status.topic, status.lost),
            keepalive=settings.keepalive,
            connect_timeout=settings.connect_timeout,
            packet_limit=settings.max_payload + _HEADROOM,
            on_message=self._serving.deliver,
            on_acknowledged=self._serving.settle,
        )

    def _await_answer(self, connection: Connection, timeout: float) -> bool:
        """Turn until the CONNACK is there; False where ``timeout`` s brought nothing."""
        limit = self._clock.monotonic() + timeout
        while not connection.admitted and not self._exchange.stopping.is_set():
            rest = limit - self._clock.monotonic()
            if rest <= 0:
                return False
            if not self._serving.turn(connection, rest):
                break
        return True

    def _judge_failure(self, connection: Connection, timeout: float, *, in_time: bool) -> bool:
        """Decide from a CONNECT without success how to go on, and show the cause."""
        refusal, choice = connection.refusal, self._choice
        if refusal is not None and refusal.code == causes.UNSUPPORTED_VERSION:
            at_once = choice.refused()
            if at_once:
                log.info("%s does not speak MQTT 5: going down to 3.1.1", self._url)
        elif refusal is not None:
            choice.answered()
            self._exchange.count("refusals")
            at_once = False
        else:
            at_once = choice.hung_up() if in_time else choice.silent()
        # What is tried again at once has not failed yet.
        if not at_once:
            self._standing.ended_otherwise()
            cause = self._cause_of_end(connection)
            self._enter("disconnected", cause if in_time else causes.of_silence(self._url, timeout))
        return at_once

    def _serve(self, connection: Connection) -> str:
        """Live on an admitted connection; return why it ended."""
        version = self._choice.version
        self._choice.admitted()
        self._exchange.count("connections")
        self._enter("connected", f"the broker admitted us (MQTT {version})", version)
        if self._exchange.stopping.is_set():
            # Nobody waited for the birth or the farewell to be said: leave unheard.
            connection.disconnect()
            return STOPPED

        def show(cause: str) -> None:
            self._enter("connected", cause, version)

        cause = self._serving.serve(connection, self._calling.subscriptions, show)
        if cause:
            self._standing.ended_otherwise()
        return cause or self._note_end(connection)

    def _note_end(self, connection: Connection) -> str:
        """Learn from how an admitted connection broke; return why it did."""
        ending, standing = connection.ending, self._standing
        if connection.violation or connection.oversized:
            standing.ended_otherwise()
        elif ending is not None and ending.code == causes.TAKEN_OVER:
            standing.taken_over()
        elif ending is not None or (connection.error and not causes.is_hang_up(connection.error)):
            standing.ended_otherwise()
        else:
            standing.closed(self._clock.monotonic(), unanswered=connection.in_flight > 0)
        if standing.is_contested:
            self._exchange.count("takeovers")
        return self._cause_of_end(connection)

    def _cause_of_end(self, connection: Connection) -> str:
        url, settings, client_id = self._url, self._settings, self._calling.client_id
        standing, refusal, ending = self._standing, connection.refusal, connection.ending
        if refusal is not None:
            cause = causes.of_refusal(refusal.code, refusal.name, settings.user, client_id)
            return cause + refusal.quote
        if connection.oversized:
            return (
                f"the broker sent a message of {connection.oversized} bytes, "
                f"far more than max_payload = {settings.max_payload}"
            )
        if ending is not None and connection.said_goodbye:
            return causes.of_goodbye(ending.code, ending.name, client_id) + ending.quote
        if connection.violation and connection.admitted:
            return causes.of_violation(url, connection.violation)
        if connection.violation or (ending is not None and not connection.admitted):
            return causes.of_nonsense(url)
        if ending is not None and ending.code == causes.KEEPALIVE:
            return causes.of_no_answer(connection.keepalive)
        if ending is not None:
            return f"the connection ended: {ending.name.lower()}"
        error = connection.error
        if error is not None and not causes.is_hang_up(error):
            return self._cause_of_error(error)
        if standing.is_contested:
            return causes.of_rival(standing.closed_in_a_row, client_id, quiet=standing.is_quiet)
        return causes.of_silent_close(url, admitted=connection.admitted)

    def _cause_of_error(self, error: BaseException) -> str:
        now = self._clock.time()
        return causes.of_error(error, self._url, self._settings.connect_timeout, now=now)

    def _enter(self, state: State, cause: str, protocol: str = "") -> None:
        """Change the state, and say so where it is news."""
        before = self._exchange.state
        since = before.since if before.state == state else self._clock.time()
        after = ConnectionState(state, str(self._url), cause, since, protocol)
        if not self._exchange.change_state(after):
            return
        expected = after.is_connected or cause == STOPPED
        log.log(
            logging.INFO if expected else logging.WARNING, "%s: %s: %s", self._url, state, cause
        )
        try:
            self._calling.on_state(after)
        # A listener's fault costs neither the thread nor the connection.
        except Exception:
            self._exchange.count("faults")
            log.exception("%s: a listener to connection states failed", self._url)
