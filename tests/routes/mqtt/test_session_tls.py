"""TLS to a real mosquitto: what holds, and what each thing that does not hold is called."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from tests.lab.mosquitto import DEADLINE, Mosquitto
from tests.routes.mqtt.test_session import await_connected, await_disconnected, await_drained

pytestmark = pytest.mark.needs("mosquitto")


@pytest.fixture
def tls_broker(certificates):
    """Run a broker with the certificate of that name; as a context manager."""

    @contextmanager
    def run(server="server", *lines, **options):
        with Mosquitto(
            lines=[
                f"cafile {certificates / 'ca.crt'}",
                f"certfile {certificates / f'{server}.crt'}",
                f"keyfile {certificates / f'{server}.key'}",
                *lines,
            ],
            **options,
        ) as broker:
            yield broker

    return run


@pytest.fixture
def call(make_session, certificates):
    """Make a session that trusts our authority, with the client certificate of that name."""

    def make(broker, client="", host="localhost", **options):
        own = {}
        if client:
            own = {
                "cert_file": str(certificates / f"{client}.crt"),
                "key_file": str(certificates / f"{client}.key"),
            }
        values = {"ca_file": str(certificates / "ca.crt"), **own, **options}
        return make_session(f"mqtts://{host}:{broker.port}", **values)

    return make


WANTED = "require_certificate true"


def await_cause(session, words):
    state = session.wait_for_state(lambda state: words in state.cause, DEADLINE)
    assert state is not None, session.state
    return state.cause


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_our_own_authority_is_enough(tls_broker, call, host):
    with tls_broker() as broker:
        session = call(broker, host=host)
        await_connected(session)
        assert session.stop(5.0)


def test_tls_with_a_client_certificate(tls_broker, call):
    with tls_broker("server", WANTED) as broker:
        session = call(broker, "client")
        await_connected(session)
        for number in range(100):
            session.publish("t", b"x" * 5000 + b"%d" % number, qos=1)
        assert await_drained(session).dropped == 0
        assert session.stop(5.0)


def test_certificates_and_passwords_may_be_credentials(
    tls_broker, make_session, certificates, tmp_path, monkeypatch
):
    for name, credential in (("ca.crt", "ca"), ("client.crt", "cert"), ("client.key", "key")):
        (tmp_path / credential).write_bytes((certificates / name).read_bytes())
    (tmp_path / "password").write_text("sesame\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with tls_broker("server", WANTED, passwords={"gw": "sesame"}) as broker:
        session = make_session(
            f"mqtts://gw@localhost:{broker.port}",
            ca_credential="ca",
            cert_credential="cert",
            key_credential="key",
            password_credential="password",
        )
        await_connected(session)
        assert session.stop(5.0)


def test_a_renewed_certificate_takes_effect_without_a_restart(
    tls_broker, call, certificates, tmp_path
):
    paths = {"cert_file": tmp_path / "own.crt", "key_file": tmp_path / "own.key"}

    def install(name):
        paths["cert_file"].write_bytes((certificates / f"{name}.crt").read_bytes())
        paths["key_file"].write_bytes((certificates / f"{name}.key").read_bytes())

    with tls_broker("server", WANTED) as broker:
        install("client-stranger")
        session = call(broker, **{key: str(path) for key, path in paths.items()})
        await_disconnected(session)
        install("client")
        await_connected(session)
        assert session.stop(5.0)


# What does not hold on the broker's side.


@pytest.mark.parametrize(
    ("server", "advice"),
    [
        ("server-expired", "has expired: have the broker's renewed"),
        ("server-future", "set the clock"),
        ("server-elsewhere", "somebody else than 'localhost'"),
    ],
)
def test_a_broker_with_a_bad_certificate_is_told_by_what_is_bad(tls_broker, call, server, advice):
    with tls_broker(server) as broker:
        session = call(broker)
        assert advice in await_disconnected(session).cause
        assert session.statistics().faults == 0
        assert session.stop(5.0)


def test_an_untrusted_broker_says_what_to_set(tls_broker, make_session):
    with tls_broker() as broker:
        session = make_session(f"mqtts://localhost:{broker.port}")
        assert "set ca_file" in await_disconnected(session).cause
        assert session.stop(5.0)


def test_a_broker_of_another_authority_says_what_to_set(tls_broker, call, certificates):
    with tls_broker() as broker:
        session = call(broker, ca_file=str(certificates / "stranger-ca.crt"))
        assert "set ca_file" in await_disconnected(session).cause
        assert session.stop(5.0)


# What does not hold on ours.


def test_a_missing_client_certificate_says_what_to_set(tls_broker, call):
    with tls_broker("server", WANTED) as broker:
        session = call(broker)
        await_cause(session, "cert_file")
        assert session.stop(5.0)


@pytest.mark.parametrize(
    ("client", "advice"),
    [
        ("client-expired", "our own certificate has expired"),
        ("client-stranger", "must come from an authority that the broker knows"),
    ],
)
def test_a_client_certificate_that_the_broker_refuses_says_why(tls_broker, call, client, advice):
    with tls_broker("server", WANTED) as broker:
        session = call(broker, client)
        # Its reset may overtake its reason: then another attempt hears it.
        await_cause(session, advice)
        assert session.stop(5.0)


def test_a_locked_key_is_a_cause_not_a_question(tls_broker, call):
    with tls_broker("server", WANTED) as broker:
        session = call(broker, "client-locked")
        assert "pass phrase" in await_disconnected(session).cause
        assert session.statistics().faults == 0
        assert session.stop(5.0)


# Whoever speaks TLS with whom does not.


def test_plain_mqtt_to_a_tls_port_says_so(tls_broker, make_session):
    with tls_broker() as broker:
        session = make_session(broker.url)
        assert "mqtts://" in await_disconnected(session).cause
        assert session.stop(5.0)


def test_tls_to_a_plain_port_says_so(broker, make_session):
    session = make_session(f"mqtts://localhost:{broker.port}", connect_timeout=1.0)
    assert session.wait_for_state(lambda state: "speak TLS" in state.cause, DEADLINE)
