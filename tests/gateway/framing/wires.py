"""What the tests of all framings do with a stream: cut it, and read it to its end."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from gateway.framing import Decoder, ExpiringDecoder, Frame, Framing, Garbage

Events = list[Frame | Garbage]


def sliced(decoder: Decoder, stream: bytes, cuts: Iterable[int]) -> Events:
    """Return what ``decoder`` says to ``stream`` when it is cut at ``cuts``."""
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [
        event
        for start, end in itertools.pairwise(edges)
        for event in decoder.feed(stream[start:end])
    ]


def read(framing: Framing, stream: bytes) -> Events:
    """Return what a fresh decoder says to ``stream``, and to the silence behind it."""
    decoder = framing.decoder()
    events = decoder.feed(stream)
    if framing.silence is not None:
        assert isinstance(decoder, ExpiringDecoder)
        events += decoder.expire()
    return events


def payloads(events: Events) -> list[bytes]:
    """Return the payloads of the frames among ``events``."""
    return [event.payload for event in events if isinstance(event, Frame)]
