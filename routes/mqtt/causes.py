"""Why there is no connection, in words that say what to do about it.

Pure: from an exception, an MQTT reason code or paho's own error code to one
sentence for the technician who stands before the box. Refuses nothing; what
it does not know it shows as it is.
"""

from __future__ import annotations

import errno
import socket
import ssl

from routes.mqtt import tls_causes
from routes.mqtt.broker_url import BrokerUrl

# MQTT 5.0, sections 3.2.2.2 and 3.14.2.1. paho turns the five return codes
# of a 3.1.1 CONNACK into these, so that one table serves both.
UNSUPPORTED_VERSION = 0x84
"""The broker is older than MQTT 5."""

KEEPALIVE = 0x8D
"""What paho says where it waited in vain for a PINGRESP, and a broker where it waited for us."""

TAKEN_OVER = 0x8E


def of_error(error: BaseException, url: BrokerUrl, timeout: float, *, now: float) -> str:
    """Say why the socket could not be opened or broke.

    ``timeout`` in seconds, ``now`` in seconds since 1970 by this machine's clock.

    >>> of_error(ConnectionRefusedError(), BrokerUrl("broker", 1883), 3.0, now=0.0)
    'nobody listens at broker:1883: is the broker running, is the port right?'
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls_causes.of_verification(error, url, now)
    if isinstance(error, ssl.SSLError) and not is_hang_up(error):
        return tls_causes.of_tls(error, url)
    if isinstance(error, ConnectionRefusedError):
        return f"nobody listens at {url.place}: is the broker running, is the port right?"
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"the name {url.host!r} cannot be resolved: check it and this machine's network"
    if isinstance(error, TimeoutError):
        return (
            f"{url.place} does not answer within {timeout:g} s: "
            "check the cable, the address and any firewall"
        )
    if is_hang_up(error):
        if url.tls:
            return f"{url.place} cut the connection: does it speak TLS?"
        return f"{url.place} cut the connection: was the broker stopped?"
    if isinstance(error, OSError) and error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"there is no way to {url.place}: is this machine on the network?"
    return f"the connection to {url.place} failed: {str(error) or type(error).__name__}"


def is_hang_up(error: BaseException) -> bool:
    """Tell whether ``error`` says no more than that the other side is gone."""
    return isinstance(
        error,
        ConnectionResetError
        | ConnectionAbortedError
        | BrokenPipeError
        | ssl.SSLEOFError
        | ssl.SSLZeroReturnError,
    )


def of_refusal(code: int, name: str, username: str, client_id: str) -> str:
    """Say why the broker refused CONNECT with the reason ``code`` called ``name``."""
    match code:
        case 0x86 | 0x87 if not username:
            return "the broker admits nobody without a name: set username and password_file"
        case 0x86 | 0x87:
            return (
                f"the broker refuses the user {username!r}: "
                "check username and what stands in password_file"
            )
        case 0x84:
            return "the broker speaks neither MQTT 5 nor 3.1.1"
        case 0x85:
            return f"the broker refuses the client id {client_id!r}: set another client_id"
        case 0x88 | 0x89:
            return f"the broker is there but not ready ({name.lower()})"
        case 0x8A:
            return "the broker has banned this gateway: ask whoever runs it"
        case 0x97 | 0x9F:
            return f"the broker has had enough of us ({name.lower()}): ask whoever runs it"
        case 0x9A | 0x9B:
            return (
                f"the broker does without what we cannot do without ({name.lower()}): "
                "who is there is told by retained messages of QoS 1; use another broker"
            )
        case 0x9C | 0x9D:
            return (
                f"the broker sends us elsewhere ({name.lower()}): write its new place into broker"
            )
    return f"the broker refuses us: {name.lower()}"


_APART = "give one of the two another node, or another client_id where it has one of its own"
"""For two gateways of one name another client_id would hide it: they would share a tree."""


def of_goodbye(code: int, name: str, client_id: str) -> str:
    """Say why the broker ended an established connection with the reason ``code``."""
    match code:
        case 0x81 | 0x82 | 0x93 | 0x94:
            return f"the broker could not read what we sent ({name.lower()}): please report it"
        case 0x8B:
            return "the broker was shut down"
        case 0x8D:
            return "the broker has not heard from us in time: this machine hung, or its network"
        case 0x8E:
            return f"another client took over the session {client_id!r}: {_APART}"
        case 0x87:
            return "the broker withdrew our permission: check its access list"
        case 0x95:
            return "the broker found a message of ours too large"
        case 0x89 | 0x96 | 0x97 | 0x9F:
            return f"the broker has had enough of us ({name.lower()})"
        case 0x98:
            return "the broker's operator disconnected us"
        case 0x9C | 0x9D:
            return (
                f"the broker sends us elsewhere ({name.lower()}): write its new place into broker"
            )
    return f"the broker ended the connection: {name.lower()}"


def of_no_answer(keepalive: int) -> str:
    """Say that nothing has come for ``keepalive`` seconds, though we asked."""
    return f"the broker has not answered for {keepalive} s: it hangs, or the network is cut"


def of_rival(count: int, client_id: str, *, quiet: bool) -> str:
    """Say what it means that ``count`` connections in a row were closed without a word.

    ``quiet`` where the broker had answered all that we had sent on each.
    """
    otherwise = "" if quiet else "; or the broker dislikes a message of ours"
    return (
        f"the broker has admitted us and hung up {count} times in a row, without a word: it "
        f"seems that another client took over the session {client_id!r}: {_APART}{otherwise}"
    )


def of_violation(url: BrokerUrl, what: str) -> str:
    """Say that the broker sent ``what``, which it may not."""
    return f"{url.place} broke the protocol, it sent {what}: is that broker sound?"


def of_flood(rate: int) -> str:
    """Say that the broker sent more than ``rate`` packets a second."""
    return (
        f"the broker floods us with far more than receive_rate = {rate} messages a second: "
        "find out who sends them, and whether the broker's access list lets everybody call us"
    )


def of_throttling(admitted: str) -> str:
    """Say that messages wait since the broker has no room for them."""
    return f"{admitted}, but throttles us (quota exceeded): messages wait, ask whoever runs it"


def of_silent_close(url: BrokerUrl, *, admitted: bool) -> str:
    """Say what it may mean that the broker closed without a word."""
    if admitted:
        return "the broker closed the connection: was it stopped?"
    if url.tls:
        return (
            f"{url.place} closed the connection before it answered: "
            "does it want a cert_file, does MQTT live on this port?"
        )
    return (
        f"{url.place} closed the connection before it answered: "
        "does it want TLS (mqtts://), does MQTT live on this port?"
    )


def of_silence(url: BrokerUrl, timeout: float) -> str:
    """Say what it may mean that nothing came back to CONNECT."""
    return (
        f"{url.place} took the connection and said nothing for {timeout:g} s: "
        "the broker hangs, or something else lives on this port"
    )


def of_nonsense(url: BrokerUrl) -> str:
    """Say what it may mean that the answer to CONNECT was none."""
    return f"what answers at {url.place} does not speak MQTT: is the port right?"
