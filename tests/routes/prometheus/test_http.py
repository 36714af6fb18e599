"""As much of HTTP as a scrape needs, however it is sliced, and nonsense in its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.prometheus.http import LARGEST, Refusal, Request, parse, refusal, response

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\nACCEPT:  text/plain \r\n\r\n"


@given(st.integers(0, len(HEAD) - 1))
def test_a_head_that_has_not_come_whole_is_waited_for(cut: int) -> None:
    assert parse(HEAD[:cut]) is None


def test_a_whole_head_is_a_request() -> None:
    assert parse(HEAD) == Request("text/plain", is_head=False)
    assert parse(HEAD.replace(b"GET", b"HEAD")) == Request("text/plain", is_head=True)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics SSH/2.0\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"GET /metricsx HTTP/1.1\r\n\r\n", 404),
        (b"DELETE /metrics HTTP/1.1\r\n\r\n", 405),
        (b"G" * (LARGEST + 1), 431),
    ],
)
def test_what_cannot_be_answered_has_its_status(head: bytes, status: int) -> None:
    refused = parse(head)
    assert isinstance(refused, Refusal)
    assert refused.status == status
    assert refusal(refused).startswith(b"HTTP/1.1 %d " % status)


@given(st.binary(max_size=200))
def test_nonsense_never_raises(data: bytes) -> None:
    parse(data)
    parse(data + b"\r\n\r\n")


def test_a_refused_method_is_told_which_there_are() -> None:
    assert b"\r\nAllow: GET, HEAD\r\n" in response(405, "text/plain", b"")
