"""``gateway run``: run what a configuration file describes, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse
from typing import Any

SUMMARY = "run the gateway that a configuration file describes"

FORMATS = ("auto", "text", "json", "journal")
"""As in `gateway.process.logbook`, which is imported later."""

DEFAULT = "/etc/gateway/gateway.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    parser.add_argument(
        "-c", "--config", default=DEFAULT, metavar="FILE", help=f"the configuration ({DEFAULT})"
    )
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        help="how the log is written: auto (the default) is the journal under systemd, else text;"
        " --json alone means json",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the gateway; return 1 where something failed or the emergency brake was pulled."""
    from gateway import plugins
    from gateway.appliance import Appliance
    from gateway.config.loading import load
    from gateway.process.logbook import start_logging

    configuration = load(arguments.config, find=plugins.find)
    form: Any = arguments.log_format or ("json" if arguments.json else "auto")
    start_logging(configuration.gateway.log_level, form=form)
    return Appliance(configuration, file=arguments.config).run()
