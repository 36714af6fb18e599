"""What went wrong with TLS, in words that say what to do.

Which of these a real broker and a real OpenSSL bring about: test_session_tls.py.
"""

from __future__ import annotations

import re
import ssl

import pytest

from routes.mqtt import tls_causes
from routes.mqtt.broker_url import BrokerUrl

URL = BrokerUrl("broker", 8883, tls=True)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (9, "1970-01-01 00:00 UTC.*set the clock"),
        (10, "has expired.*renewed"),
        (18, "set ca_file"),
        (20, "set ca_file"),
        (62, "somebody else than 'broker'"),
        (64, "somebody else than 'broker'"),
        (23, "as it is"),
    ],
)
def test_a_certificate_that_does_not_hold_becomes_advice(code, advice):
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_code, error.verify_message = code, "as it is"
    assert re.search(advice, tls_causes.of_verification(error, URL, now=0.0))


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "set cert_file"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "set cert_file"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "our own certificate has expired"),
        ("SSLV3_ALERT_CERTIFICATE_REVOKED", "revoked"),
        ("TLSV1_ALERT_UNKNOWN_CA", "authority that the broker knows"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "refuses our certificate"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "too old"),
        ("WRONG_VERSION_NUMBER", "does not speak TLS"),
        ("NO_SHARED_CIPHER", "NO_SHARED_CIPHER"),
    ],
)
def test_what_the_broker_has_against_us_becomes_advice(reason, advice):
    error = ssl.SSLError(1, reason)
    error.reason = reason
    assert advice in tls_causes.of_tls(error, URL)
