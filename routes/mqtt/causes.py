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
"""Also what paho says where it waited in vain for a PINGRESP."""


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
    return f"the broker refuses us: {name.lower()}"


def of_disconnect(code: int, name: str, client_id: str, keepalive: int) -> str:
    """Say why an established connection ended with the reason ``code``."""
    match code:
        case 0x8B:
            return "the broker was shut down"
        case 0x8D:
            return f"the broker has not answered for {keepalive} s: it hangs, or the network is cut"
        case 0x8E:
            return (
                f"another client took over our id {client_id!r}: "
                "do two gateways bear the same node name?"
            )
        case 0x87:
            return "the broker withdrew our permission: check its access list"
        case 0x95:
            return "the broker found a message of ours too large"
        case 0x97 | 0x9F:
            return f"the broker has had enough of us ({name.lower()})"
        case 0x98:
            return "the broker's operator disconnected us"
    return f"the broker ended the connection: {name.lower()}"


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


def of_short_lives(count: int, client_id: str) -> str:
    """Say what it may mean that each of ``count`` connections was cut within seconds."""
    return (
        f"the broker has admitted us and soon hung up {count} times in a row: do two gateways "
        f"bear the same node name (client id {client_id!r}), or does it dislike a message?"
    )
