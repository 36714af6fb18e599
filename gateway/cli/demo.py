"""``gateway demo``: see it work, with neither hardware nor a broker.

Tells a story on the terminal, from the board that is found to the cable that is plugged
in again, then goes on until Ctrl-C. A step that does not come in time ends it with 1, so
that it serves as a smoke test too.
"""

from __future__ import annotations

import argparse
import math

SUMMARY = "see it work: a simulated board and a broker, no hardware needed"

EPILOG = """\
A simulated board on a pseudo-terminal, the serial and the mqtt route in OS processes of
their own, a broker, and a foreign MQTT client that says what it sees there.

examples:
  gateway demo                                 the story, then on until Ctrl-C
  gateway demo --seconds 20                    a smoke test
  gateway demo --broker mqtt://localhost:1883  a broker of your own; watch it with
                                               mosquitto_sub -v -t 'gateway/#'
  gateway demo --seconds 20 --json | jq -c 'select(.event == "reply")'

exit status:
  0    it went as told, or its time was over
  1    a step did not come in time; its line says which and why
  130  ended by Ctrl-C before the story was over
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what this command takes."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--seconds", type=seconds, metavar="N", help="end after N seconds (the story takes some 8)"
    )
    parser.add_argument(
        "--broker", metavar="URL", help="use this broker, such as mqtt://localhost:1883"
    )


def run(arguments: argparse.Namespace) -> int:
    """Tell the story; return 0, 1 where it failed, or 130 where it was interrupted."""
    from time import monotonic

    began = monotonic()
    import io
    import signal
    import sys
    import tempfile
    from importlib.util import find_spec
    from pathlib import Path

    from gateway.cli.main import FAILED, INTERRUPTED
    from gateway.errors import GatewayError

    if find_spec("amqtt") is None:
        raise GatewayError(
            "it needs amqtt, for its broker and its witness: "
            "pip install 'hardware-gateway[demo]' brings it, and so does make run"
        )
    _quieten(as_json=arguments.json, debug=arguments.debug)
    from gateway.cli.demonstration.application import Demonstration
    from gateway.cli.demonstration.storyteller import Storyteller

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no bars gets ?
    storyteller = Storyteller(sys.stdout, lambda: monotonic() - began, as_json=arguments.json)
    # Until the application sees to it, TERM is to put things away as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        application = Demonstration(
            Path(folder),
            storyteller,
            broker=arguments.broker,
            ends_at=None if arguments.seconds is None else began + arguments.seconds,
        )
        status = application.run()
        if not application.is_embedded and application.outcome != "failed":
            _tidy(application.broker, application.pattern)
    if storyteller.gone is not None:
        raise storyteller.gone
    if application.outcome == "failed":
        return FAILED
    if application.outcome == "untold" and not status:
        return INTERRUPTED
    return status


def seconds(text: str) -> float:
    """Return the seconds that a word of the command line says, 0 or more."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return found


def _quieten(*, as_json: bool, debug: bool) -> None:
    """Let only what went wrong be heard beside the story; of amqtt only under ``debug``."""
    import logging

    from gateway.process.logbook import start_logging

    start_logging("warning", form="json" if as_json else "auto")
    if not debug:
        # It warns of every client that speaks MQTT 5 first, and of its own dependencies.
        for name in ("amqtt", "transitions", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _tidy(broker: str, pattern: str) -> None:
    """Leave nothing retained on a broker that is not ours."""
    import logging

    from gateway.cli.demonstration.loop_thread import LoopThread
    from gateway.cli.demonstration.witness import sweep
    from gateway.errors import GatewayError

    loop = LoopThread("sweep")
    loop.start()
    try:
        loop.submit(sweep(broker, pattern)).result(5.0)
    except (GatewayError, TimeoutError) as error:
        logging.getLogger(__name__).warning("%s may stay at %s: %s", pattern, broker, error)
    finally:
        loop.stop()
