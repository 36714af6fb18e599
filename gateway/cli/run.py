"""``gateway run``: run what a configuration file describes, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse

SUMMARY = "run the gateway that a configuration file describes"

DEFAULT = "/etc/gateway/gateway.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    parser.add_argument(
        "-c", "--config", default=DEFAULT, metavar="FILE", help=f"the configuration ({DEFAULT})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the gateway; return 1 where something failed or the emergency brake was pulled."""
    from gateway import plugins
    from gateway.appliance import Appliance
    from gateway.cli.logs import start_logging
    from gateway.config.loading import load

    configuration = load(arguments.config, find=plugins.find)
    start_logging(configuration.gateway.log_level, as_json=arguments.json)
    return Appliance(configuration).run()
