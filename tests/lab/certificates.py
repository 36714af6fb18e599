"""Certificates as brokers and gateways have them in the field, made for one test run.

One authority, ``ca.crt``, and what it issued: each ``<name>.crt`` with its
``<name>.key``. The bad ones are bad in one way each::

    server               localhost and 127.0.0.1
    server-expired       since an hour
    server-future        from tomorrow on: what a clock in the past sees
    server-elsewhere     made out to another host
    client               the gateway's own
    client-expired       since an hour
    client-stranger      issued by an authority that nobody knows: stranger-ca.crt
    client-locked        its key lies behind a pass phrase
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

HERE = ("localhost", "127.0.0.1")
GATEWAY = "gateway@lab.invalid"


def make_certificates(folder: Path) -> Path:
    """Write them all into ``folder``; return it."""
    authority, stranger = trustme.CA(), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.crt"))
    stranger.cert_pem.write_to_path(str(folder / "stranger-ca.crt"))
    now = datetime.now(UTC)
    past, hour_ago = now - timedelta(days=2), now - timedelta(hours=1)
    issued = {
        "server": authority.issue_cert(*HERE, common_name="localhost"),
        "server-expired": authority.issue_cert(*HERE, not_before=past, not_after=hour_ago),
        "server-future": authority.issue_cert(*HERE, not_before=now + timedelta(days=1)),
        "server-elsewhere": authority.issue_cert("elsewhere.invalid"),
        "client": authority.issue_cert(GATEWAY, common_name=GATEWAY),
        "client-expired": authority.issue_cert(GATEWAY, not_before=past, not_after=hour_ago),
        "client-stranger": stranger.issue_cert(GATEWAY),
        "client-locked": authority.issue_cert(GATEWAY),
    }
    for name, certificate in issued.items():
        certificate.private_key_pem.write_to_path(str(folder / f"{name}.key"))
        certificate.cert_chain_pems[0].write_to_path(str(folder / f"{name}.crt"))
    _lock(folder / "client-locked.key")
    return folder


def _lock(path: Path) -> None:
    key = load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))
    )
