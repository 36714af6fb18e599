r"""As much of HTTP/1.1 as one who scrapes needs: one request a connection (RFC 9112).

Pure: bytes in, bytes out. A request is a head without a body. Refused, each with
its status: what is no HTTP (400), other paths (404), other methods (405), heads
of more than `LARGEST` bytes (431).
"""

from __future__ import annotations

from typing import NamedTuple

LARGEST = 8192
"""Bytes of a head, with everything that a browser sends."""

PATHS = ("/metrics",)

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
}


class Request(NamedTuple):
    """A request that can be answered with the metrics."""

    accept: str
    is_head: bool


class Refusal(NamedTuple):
    """Why it cannot."""

    status: int
    reason: str


def parse(data: bytes) -> Request | Refusal | None:
    r"""Return what is asked; None where more bytes have to come.

    >>> parse(b"GET /metrics HTTP/1.1\r\nAccept: text/plain\r\n\r\n")
    Request(accept='text/plain', is_head=False)
    >>> parse(b"GET /metrics HT"), parse(b"GET / HTTP/1.1\r\n\r\n").status
    (None, 404)
    """
    head, end, _ = data.partition(b"\r\n\r\n")
    if len(head) > LARGEST:
        return Refusal(431, f"a head of more than {LARGEST} bytes")
    if not end:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return Refusal(400, "no request of HTTP/1.1")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        return Refusal(405, "only GET and HEAD: nothing can be changed here")
    if target.partition("?")[0] not in PATHS:
        return Refusal(404, f"there is {PATHS[0]} and nothing else")
    accept = ""
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            return Refusal(400, "a header without a colon")
        if name.lower() == "accept":
            accept = value.strip()
    return Request(accept, is_head=method == "HEAD")


def response(status: int, content_type: str, body: bytes, *, is_head: bool = False) -> bytes:
    """Return the whole answer, after which the connection is closed."""
    allow = "Allow: GET, HEAD\r\n" if status == 405 else ""
    head = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{allow}"
        "Cache-Control: no-store\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("latin-1") + (b"" if is_head else body)


def refusal(refused: Refusal) -> bytes:
    """Return the answer to what cannot be answered."""
    body = f"{refused.reason}\n".encode()
    return response(refused.status, "text/plain; charset=utf-8", body)
