"""udev: does it run, and are the rules those that the configuration asks for?

Pure: facts in, findings out.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.cli.checkup.facts import Facts
from gateway.cli.checkup.finding import Finding, fine, unknown, wrong


def udevd(facts: Facts) -> Iterator[Finding]:
    """Say whether somebody names devices and gives them away."""
    if facts.udevd:
        yield fine("udevd", "it runs")
        return
    yield wrong(
        "udevd",
        "it does not run: ports have no names that stay, nobody gives them to a group, and"
        " devices are only known by what the kernel says",
        "sudo systemctl start systemd-udevd\n"
        "in a container: leave that to the host, and hand in its /dev and /run/udev",
    )


def rules(facts: Facts) -> Iterator[Finding]:
    """Say whether the rules that are installed are the right ones."""
    if facts.config_problem:
        yield unknown(
            "rules",
            f"what they should say is not known: {facts.config_problem}",
            f"gateway check {facts.config}",
        )
        return
    about = facts.rules
    write = f"sudo gateway udev-rules -c {facts.config} --output {about.path}"
    tell = "sudo udevadm control --reload && sudo udevadm trigger --action=add"
    if about.mistake:
        yield wrong(
            "rules", f"a match cannot be a rule: {about.mistake}", "mend the match, then: " + write
        )
    elif about.installed == about.right:
        yield fine("rules", f"{about.path} is what the configuration asks for")
    elif about.installed is None and not about.named:
        yield fine("rules", "no device is found by a match, so no rules are needed")
    elif about.installed is None:
        count = f"{about.named} device{'' if about.named == 1 else 's'}"
        yield wrong(
            "rules",
            f"{about.path} is not there, and {count} would be named by it",
            f"{write}\n{tell}",
        )
    else:
        yield wrong(
            "rules", f"{about.path} is not what the configuration asks for", f"{write}\n{tell}"
        )
