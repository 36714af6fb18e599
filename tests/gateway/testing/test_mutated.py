from __future__ import annotations

from random import Random

from gateway.testing.mutated import mutated_frames

RIGHT = [b"LUX 312", b"ID lamp 1.0"]


def test_the_same_seed_gives_the_same_frames() -> None:
    first, again, other = (list(mutated_frames(Random(s), RIGHT, 200)) for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_many_still_look_like_frames_and_hardly_any_is_one() -> None:
    frames = list(mutated_frames(Random(3), RIGHT, 2000))
    assert len(frames) == 2000
    assert sum(frame.startswith((b"LUX", b"ID ")) for frame in frames) > 500
    assert sum(frame in RIGHT for frame in frames) < 200
    assert max(map(len, frames)) < 200


def test_without_real_frames_there_are_some_all_the_same() -> None:
    assert len(set(mutated_frames(Random(4), [], 200))) > 50
