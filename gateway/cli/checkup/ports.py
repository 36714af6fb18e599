"""Ports: may the user open them, has somebody else, is one of them the kernel's console?

Pure: facts in, findings out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.checkup.facts import Facts, Port, User
from gateway.cli.checkup.finding import Finding, fine, unknown, wrong

_GROUP_WRITES, _OTHERS_WRITE, _OWNER_WRITES = 0o060, 0o006, 0o600


def permissions(facts: Facts) -> Iterator[Finding]:
    """Say of each port whether the user may open it, and if not, what would let him."""
    if not facts.ports:
        yield fine("permissions", "no port is plugged in, so there is nothing to be allowed")
        return
    allowed = []
    for port in facts.ports:
        if port.mode is None:
            yield unknown("permissions", f"{port.node} is listed and cannot be looked at")
            continue
        mend = _mend(port, facts.user)
        if mend is None:
            allowed.append(port.node)
        else:
            who = f"user {facts.user.name} may not open {_called(port)}"
            yield wrong("permissions", f"{who} ({_rights(port)})", mend)
    if allowed:
        yield fine("permissions", f"user {facts.user.name} may open {', '.join(allowed)}")


def _mend(port: Port, user: User) -> str | None:
    """Return what lets ``user`` open ``port``; None where he may."""
    mode = port.mode or 0
    if user.uid == 0:
        return None
    if user.uid == port.uid:
        return None if mode & _OWNER_WRITES == _OWNER_WRITES else _by_rules(port)
    if mode & _OTHERS_WRITE == _OTHERS_WRITE:
        return None
    if mode & _GROUP_WRITES != _GROUP_WRITES or port.group == "root":
        return _by_rules(port)
    if port.group not in user.groups:
        return (
            f"sudo usermod -aG {port.group} {user.name}\n"
            "log out and in again, or restart the service: a program keeps the groups it began with"
        )
    if user.session is not None and port.group not in user.session:
        return (
            f"{user.name} is in the group {port.group}, but this session began before that: log"
            " out and in again"
        )
    return None


def _by_rules(port: Port) -> str:
    if port.device:
        return f"give {port.device} a match in the configuration, then install: gateway udev-rules"
    return (
        f"take it in ('gateway devices {port.node}' says how) and install 'gateway udev-rules', or"
        " install the rules of the folder udev"
    )


def _rights(port: Port) -> str:
    return f"mode {port.mode or 0:04o}, group {port.group or '?'}"


def _called(port: Port) -> str:
    return f"{port.node}, {port.name}" if port.name else port.node


def in_use(facts: Facts) -> Iterator[Finding]:
    """Say which ports some other program has open."""
    for port in facts.ports:
        if port.holders:
            programs = ", ".join(map(str, port.holders))
            yield wrong(
                "in use",
                f"{_called(port)} is open in {programs}, and takes bytes that are the gateway's",
                "end it: "
                + ", ".join(f"sudo kill {each.pid}" for each in port.holders)
                + "; where it comes back, find its service with: systemctl status "
                + " ".join(str(each.pid) for each in port.holders),
            )
    if facts.partial_holders:
        yield unknown(
            "in use",
            "other users' programs cannot be seen, so that one of them may have a port open",
            "run it as root: sudo gateway doctor",
        )
    elif not any(port.holders for port in facts.ports):
        yield fine("in use", "nobody else has a port open")


def console(facts: Facts) -> Iterator[Finding]:
    """Say whether the kernel talks on a port that a board hangs on."""
    consoles = [port for port in facts.ports if port.is_console]
    for port in consoles:
        if port.device:
            yield wrong(
                "console",
                f"{port.node} is {port.device}'s and also the kernel's console: its messages and"
                " a login go to the board",
                f"take console={port.node.removeprefix('/dev/')},… out of the kernel's command line"
                " (Raspberry Pi: sudo raspi-config, Interface, Serial: login no, hardware yes)"
                f"\nsudo systemctl disable --now serial-getty@{port.node.removeprefix('/dev/')}",
            )
    if not any(port.device for port in consoles):
        yield fine("console", "the kernel's console is on no port that a device is to use")
