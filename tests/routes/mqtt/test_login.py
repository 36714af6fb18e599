"""Secrets and certificates come from files or credentials, and a bad one is named."""

from __future__ import annotations

import re

import msgspec
import pytest

from gateway.errors import ConfigError
from routes.mqtt.login import read_login
from routes.mqtt.settings import SessionSettings


def read(**values):
    return read_login(msgspec.convert(values, SessionSettings), "gateway-lab")


@pytest.fixture
def credentials(tmp_path, monkeypatch):
    """The folder in which systemd puts the unit's credentials."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


def test_the_password_is_the_files_text_without_its_line_end(tmp_path):
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    login = read(username="gw", password_file=str(path))
    assert (login.username, login.password, login.tls) == ("gw", "open sesame", None)


def test_the_password_may_be_a_credential_of_the_unit(credentials):
    (credentials / "mqtt-password").write_text("sesame\n")
    assert read(username="gw", password_credential="mqtt-password").password == "sesame"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\xff", "UTF-8"), (b"x" * 70_000, "65535")],
)
def test_a_password_file_that_cannot_be_used_is_named(tmp_path, content, reason):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"password_file {path}.*{reason}"):
        read(username="gw", password_file=str(path))


def test_a_process_without_credentials_is_told_how_to_come_by_one(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    advice = "LoadCredential=pw:<file> into the unit, or name a file as password_file"
    with pytest.raises(ConfigError, match=advice):
        read(username="gw", password_credential="pw")


def test_a_credential_that_the_unit_was_not_given_is_named_beside_those_it_was(credentials):
    (credentials / "mqtt-pasword").touch()
    with pytest.raises(ConfigError, match=r"'mqtt-password' is not among.*there is: mqtt-pasword"):
        read(username="gw", password_credential="mqtt-password")
    (credentials / "mqtt-pasword").unlink()
    with pytest.raises(ConfigError, match="there is: none"):
        read(broker="mqtts://host", key_credential="mqtt-password", cert_file=__file__)


def test_a_folder_of_credentials_that_is_gone_is_named(credentials):
    credentials.rmdir()
    with pytest.raises(ConfigError, match=f"{credentials} cannot be read: No such file"):
        read(username="gw", password_credential="pw")


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate", "-----BEGIN CERTIFICATE-----"])
def test_a_tls_file_that_cannot_be_used_is_named(tmp_path, key, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=f"{key} {path}"):
        read(broker="mqtts://host", **{key: str(path)})


@pytest.mark.parametrize(
    ("cert", "key", "reason"),
    [
        ("client.crt", "nowhere.key", "key_file .*nowhere.key cannot be read: No such file"),
        ("client.crt", "client.crt", "key_file .*client.crt holds no private key"),
        ("client.key", "client.key", "cert_file .*client.key holds no certificate"),
        ("client.crt", "server.key", "key_file .*server.key is not the key of cert_file"),
        ("client-locked.crt", "client-locked.key", "pass phrase.*openssl pkey -in"),
        ("client.crt", "", "cert_file .*client.crt holds no private key"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(certificates, cert, key, reason):
    files = {"cert_file": str(certificates / cert)}
    if key:
        files["key_file"] = str(certificates / key)
    with pytest.raises(ConfigError) as caught:
        read(broker="mqtts://host", **files)
    assert re.search(reason, str(caught.value))


def test_a_certificate_and_its_key_may_share_a_file(certificates, tmp_path):
    both = tmp_path / "both.pem"
    parts = (certificates / name for name in ("client.crt", "client.key"))
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    assert read(broker="mqtts://host", cert_file=str(both)).tls is not None
