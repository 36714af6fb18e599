"""A real mosquitto for a test, and mosquitto's own clients as foreigners.

::

    with Mosquitto() as broker:
        with broker.listen("gateway/#") as heard:
            broker.pub("gateway/x", "1")
            heard.wait_for(lambda message: message.topic == "gateway/x")

The broker listens on loopback alone, on a port that it keeps through `kill`
and `start`, with a configuration and a folder of its own; nobody else's
mosquitto is touched. Whatever waits here has a deadline and raises
`TimeoutError` that shows the broker's or the client's own words.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.lab.output import Output
from tests.lab.ports import free_port

DEADLINE = 10.0
"""Seconds after which a server or a client that is run here has hung."""


class Received(NamedTuple):
    """One message as mosquitto_sub saw it."""

    topic: str
    payload: bytes
    qos: int
    retained: bool
    correlation_data: str = ""
    user: str = ""


class Mosquitto:
    """One broker. As a context manager it is started, and ended with its folder.

    ``lines`` are added to its configuration; ``files`` (name to text) lie in
    its folder, in which it runs, so that lines may name them plainly.
    ``passwords`` (user to password) make it admit nobody else.
    """

    def __init__(
        self,
        *,
        lines: Sequence[str] = (),
        files: Mapping[str, str] | None = None,
        passwords: Mapping[str, str] | None = None,
        port: int | None = None,
    ) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="mosquitto-"))
        self.process: subprocess.Popen[str] | None = None
        self._output = Output()
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
        for user, password in (passwords or {}).items():
            self.set_password(user, password)
        admission = (
            ["allow_anonymous false", "password_file passwords"]
            if passwords
            else []
            if any(line.startswith("allow_anonymous") for line in lines)
            else ["allow_anonymous true"]
        )
        own_listener = any(line.startswith("listener") for line in lines)
        configuration = [
            # The folder is nobody else's to read, and mosquitto would leave root.
            *(["user root"] if os.geteuid() == 0 else []),
            "log_dest stderr",
            "log_type all",
            "persistence false",
            *([] if own_listener else [f"listener {self.port} 127.0.0.1"]),
            *admission,
            *lines,
        ]
        (self.folder / "mosquitto.conf").write_text("\n".join(configuration) + "\n")

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The broker's address, as the gateway's configuration writes it."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[str]:
        """What the broker has said since it was last started."""
        return self._output.now()

    def set_password(self, user: str, password: str) -> None:
        """Write ``user`` into the password file; a running broker reads it at `reload`."""
        path = self.folder / "passwords"
        path.touch()
        _run(["mosquitto_passwd", "-b", str(path), user, password])

    def start(self) -> None:
        """Start it, again on the same port, and wait until it listens."""
        if self.process is not None:
            raise RuntimeError("it runs already")
        self.process = subprocess.Popen(
            ["mosquitto", "-c", "mosquitto.conf"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._output = Output(self.process)
        self.wait_for_log(r"mosquitto version \S+ running")

    def wait_for_log(self, pattern: str, timeout: float = DEADLINE) -> str:
        """Wait until a line of the broker's log matches ``pattern``; return it."""
        return self._output.wait_for(re.compile(pattern).search, timeout)

    def stop(self) -> None:
        """End it as its init system would (SIGTERM)."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a chance to say goodbye (SIGKILL)."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Hang it (SIGSTOP): its sockets stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def reload(self) -> None:
        """Let it read its password and access files again (SIGHUP)."""
        self._signal(signal.SIGHUP)

    def close(self) -> None:
        """End it if it still runs, frozen or not, and remove its folder."""
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def pub(
        self,
        topic: str,
        payload: str | bytes,
        *,
        retain: bool = False,
        qos: int = 1,
        version: str = "5",
        response_topic: str | None = None,
        correlation_data: str | None = None,
        user_property: tuple[str, str] | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout: float = DEADLINE,
    ) -> None:
        """Publish one message as a foreign client; raise where that fails."""
        command = self._client("mosquitto_pub", version, username, password)
        command += [
            "-t",
            topic,
            "-q",
            str(qos),
            "-s" if payload else "-n",
            *(["-r"] if retain else []),
        ]
        if response_topic is not None:
            command += ["-D", "publish", "response-topic", response_topic]
        if correlation_data is not None:
            command += ["-D", "publish", "correlation-data", correlation_data]
        if user_property is not None:
            command += ["-D", "publish", "user-property", *user_property]
        _run(command, payload.encode() if isinstance(payload, str) else payload, timeout)

    def listen(
        self,
        *topics: str,
        version: str = "5",
        qos: int = 1,
        username: str | None = None,
        password: str | None = None,
    ) -> Listener:
        """Return a foreign subscriber that is subscribed already; close it, or use ``with``."""
        command = self._client("mosquitto_sub", version, username, password)
        command += ["-d", "-q", str(qos), "-F", _MARK + "%q %r %x %t\t%D\t%P"]
        for topic in topics:
            command += ["-t", topic]
        return Listener(command)

    def sub(
        self, topic: str, *, count: int = 1, timeout: float = DEADLINE, version: str = "5"
    ) -> list[Received]:
        """Subscribe, return the first ``count`` messages: mostly what is retained."""
        with self.listen(topic, version=version) as listener:
            return listener.wait_for_count(count, timeout)

    def _client(
        self, program: str, version: str, username: str | None, password: str | None
    ) -> list[str]:
        protocol = {"5": "mqttv5", "3.1.1": "mqttv311"}[version]
        command = [program, "-h", "127.0.0.1", "-p", str(self.port), "-V", protocol]
        if username is not None:
            command += ["-u", username]
        if password is not None:
            command += ["-P", password]
        return command

    def _signal(self, number: signal.Signals) -> None:
        if self.process is None:
            raise RuntimeError("it does not run")
        self.process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        process = self.process
        if process is None:
            raise RuntimeError("it does not run")
        process.send_signal(number)
        if number == signal.SIGTERM:
            process.send_signal(signal.SIGCONT)
        try:
            process.wait(DEADLINE)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(DEADLINE)
            self._output.join()
            self.process = None


class Listener:
    """A running mosquitto_sub and what it has received so far."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            # By itself it would keep "Subscribed" back until a message comes.
            ["stdbuf", "-oL", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._output = Output(self._process)
        self._seen = 0
        try:
            self._output.wait_for(lambda line: line.startswith("Subscribed"), DEADLINE)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def messages(self) -> list[Received]:
        """What has come so far."""
        return list(_messages(self._output.now()))

    def wait_for(self, accepts: Callable[[Received], bool], timeout: float = DEADLINE) -> Received:
        """Wait for the first message, from the start, that ``accepts`` takes; return it."""
        found = self._output.wait_until(
            lambda lines: next(filter(accepts, _messages(lines)), None), timeout
        )
        assert found is not None
        return found

    def wait_for_next(
        self, accepts: Callable[[Received], bool], timeout: float = DEADLINE
    ) -> Received:
        """Wait for the next message that ``accepts`` takes; return it.

        The search goes on after what the last call returned: what came
        meanwhile is looked at, what came before never again.
        """

        def find(lines: list[str]) -> tuple[int, Received] | None:
            for number in range(self._seen, len(lines)):
                for message in _messages(lines[number : number + 1]):
                    if accepts(message):
                        return number, message
            return None

        number, message = self._output.wait_until(find, timeout)
        self._seen = number + 1
        return message

    def wait_for_last(
        self, accepts: Callable[[Received], bool], timeout: float = DEADLINE
    ) -> Received:
        """Wait until ``accepts`` takes the last message of all; return it."""

        def find(lines: list[str]) -> tuple[int, Received] | None:
            for number in range(len(lines) - 1, -1, -1):
                for message in _messages(lines[number : number + 1]):
                    return (number, message) if accepts(message) else None
            return None

        number, message = self._output.wait_until(find, timeout)
        self._seen = number + 1
        return message

    def skip(self) -> None:
        """Let `wait_for_next` begin with what has not come yet."""
        self._seen = len(self._output.now())

    def wait_for_count(self, count: int, timeout: float = DEADLINE) -> list[Received]:
        """Wait until ``count`` messages are there; return those first ones."""

        def first(lines: list[str]) -> list[Received] | None:
            messages = list(_messages(lines))
            return messages[:count] if len(messages) >= count else None

        try:
            return self._output.wait_until(first, timeout)
        except TimeoutError as error:
            # Which one is missing, and whether it came in another form.
            odd = [line for line in self._output.now() if not line.startswith((_MARK, "Client "))]
            payloads = sorted(message.payload for message in self.messages)
            raise TimeoutError(
                f"{len(payloads)} of {count} messages: {payloads}; {odd[:20]}; {error}"
            ) from error

    def close(self) -> None:
        """End the client, by SIGKILL: one was seen to outlive its SIGTERM by ten seconds."""
        self._process.kill()
        self._process.wait(DEADLINE)
        self._output.join()


_MARK = "MESSAGE "


def _messages(lines: Iterable[str]) -> Iterable[Received]:
    for line in lines:
        if line.startswith(_MARK):
            fields, correlation, user = line[len(_MARK) :].split("\t")
            qos, retained, payload, topic = fields.split(" ", 3)
            yield Received(
                topic, bytes.fromhex(payload), int(qos), retained == "1", correlation, user
            )


def _run(command: Sequence[str], given: bytes = b"", timeout: float = DEADLINE) -> None:
    done = subprocess.run(command, input=given, capture_output=True, timeout=timeout, check=False)
    if done.returncode != 0 or b"not authori" in done.stderr.lower():
        said = (done.stdout + done.stderr).decode(errors="replace").strip()
        raise RuntimeError(f"{command[0]} failed ({done.returncode}): {said}")
