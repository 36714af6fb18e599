"""Secrets and certificates come from files, and a bad file is named."""

from __future__ import annotations

import msgspec
import pytest

from gateway.errors import ConfigError
from routes.mqtt.login import read_login
from routes.mqtt.settings import SessionSettings


def test_the_password_is_the_files_text_without_its_line_end(tmp_path):
    path = tmp_path / "password"
    path.write_text("open sesame\n")
    settings = SessionSettings(username="gw", password_file=str(path))
    login = read_login(settings, "gateway-lab")
    assert (login.username, login.password, login.tls) == ("gw", "open sesame", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file"), (b"\xff", "UTF-8"), (b"x" * 70_000, "65535")],
)
def test_a_password_file_that_cannot_be_used_is_named(tmp_path, content, reason):
    path = tmp_path / "password"
    if content is not None:
        path.write_bytes(content)
    settings = SessionSettings(username="gw", password_file=str(path))
    with pytest.raises(ConfigError, match=f"{path}.*{reason}"):
        read_login(settings, "gateway-lab")


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_tls_file_that_cannot_be_used_is_named(tmp_path, key, content):
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    settings = msgspec.convert({"broker": "mqtts://host", key: str(path)}, SessionSettings)
    with pytest.raises(ConfigError, match=f"{key} {path}"):
        read_login(settings, "gateway-lab")
