"""Why TLS did not come about, in words that say what to do about it.

Pure, as `routes.mqtt.causes` is. The codes of a verification are those of
OpenSSL's x509_vfy.h, the alerts those of RFC 8446, section 6, in OpenSSL's
spelling. What is not known is shown as it is.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from routes.mqtt.broker_url import BrokerUrl

NOT_YET_VALID, EXPIRED = 9, 10
UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
WRONG_NAME = (62, 64)


def of_verification(error: ssl.SSLCertVerificationError, url: BrokerUrl, now: float) -> str:
    """Say what is wrong with the broker's certificate; ``now`` in seconds since 1970."""
    certificate = f"the certificate of {url.place}"
    match error.verify_code:
        case code if code == NOT_YET_VALID:
            return (
                f"{certificate} is not valid yet, by this machine's clock ({_date(now)}), which is "
                "most likely wrong: a board without a battery for its clock wakes up in the past "
                "until it has reached a time server; see timedatectl, and set the clock"
            )
        case code if code == EXPIRED:
            return (
                f"{certificate}, or of who issued it, has expired: have the broker's renewed, "
                f"unless this machine's clock ({_date(now)}) is wrong"
            )
        case code if code in WRONG_NAME:
            return (
                f"{certificate} is made out to somebody else than {url.host!r}: write the name "
                "that stands in it into broker, or have one issued that bears this name"
            )
        case code if code in UNKNOWN_AUTHORITY:
            return (
                f"nobody whom we trust has issued {certificate} ({error.verify_message}): set "
                "ca_file to the certificate of the authority that did"
            )
    return (
        f"{certificate} is not trusted ({error.verify_message}): "
        "check ca_file, the name in the URL and this machine's clock"
    )


def of_tls(error: ssl.SSLError, url: BrokerUrl) -> str:
    """Say why the two could not agree, or what the broker has against our certificate."""
    reason = error.reason or str(error)
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
        return f"{url.place} asks for a client certificate: set cert_file and key_file"
    if "CERTIFICATE_EXPIRED" in reason:
        return f"our own certificate has expired, says {url.place}: renew what cert_file names"
    if "UNKNOWN_CA" in reason:
        return (
            f"{url.place} does not trust who issued our certificate: "
            "cert_file must come from an authority that the broker knows"
        )
    if "CERTIFICATE_REVOKED" in reason:
        return f"our own certificate was revoked, says {url.place}: have a new one issued"
    if "PROTOCOL_VERSION" in reason or "UNSUPPORTED_PROTOCOL" in reason:
        return f"{url.place} speaks a TLS that is too old (below 1.2): have the broker renewed"
    if "ALERT" in reason:
        return f"{url.place} refuses our certificate ({reason}): check cert_file and key_file"
    if "WRONG_VERSION_NUMBER" in reason:
        return f"{url.place} does not speak TLS: write mqtt://, or give the port that does"
    return f"TLS with {url.place} failed: {reason}"


def _date(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d %H:%M UTC")
