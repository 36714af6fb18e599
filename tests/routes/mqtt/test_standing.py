"""What counts as a connection that stands, and what two rivals make of each other."""

from __future__ import annotations

from bisect import bisect
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.backoff import Backoff
from routes.mqtt.standing import SETTLED, SUSPICIOUS, Standing

CEILING = 30.0
HOUR = 3600.0
LONG = 2 * CEILING + SETTLED


def close_often(standing, count=SUSPICIOUS, unanswered=False):
    for _ in range(count):
        standing.began(0.0)
        standing.closed(1.0, unanswered=unanswered)


def test_a_connection_counts_as_a_success_once_it_has_stood():
    standing = Standing(CEILING)
    standing.began(100.0)
    assert not standing.has_settled(100.0 + SETTLED - 0.1)
    assert standing.has_settled(100.0 + SETTLED)


def test_who_was_taken_over_must_stand_longer_than_any_rival_would_wait():
    standing = Standing(CEILING)
    standing.taken_over()
    assert standing.is_contested
    standing.began(100.0)
    assert not standing.has_settled(100.0 + LONG - 0.1)
    assert standing.has_settled(100.0 + LONG)
    assert not standing.is_contested


def test_closed_again_and_again_without_a_word_is_a_rival():
    standing = Standing(CEILING)
    close_often(standing, SUSPICIOUS - 1)
    assert not standing.is_contested
    close_often(standing, 1)
    assert standing.is_contested
    assert standing.is_quiet


def test_what_was_owed_at_one_of_the_ends_is_remembered():
    standing = Standing(CEILING)
    close_often(standing, 1, unanswered=True)
    close_often(standing)
    assert not standing.is_quiet


def test_an_attempt_that_fails_speaks_for_a_broker_that_is_ill():
    standing = Standing(CEILING)
    for _ in range(5):
        close_often(standing, SUSPICIOUS - 1)
        standing.ended_otherwise()
    assert not standing.is_contested


def test_a_connection_that_stood_long_is_not_the_third_of_a_row():
    standing = Standing(CEILING)
    close_often(standing, SUSPICIOUS - 1)
    standing.began(0.0)
    standing.closed(LONG, unanswered=False)
    assert standing.closed_in_a_row == 1


class Rival:
    """One of two clients of one id, in simulated time."""

    def __init__(self, first, ceiling, random, told):
        self.standing, self.backoff = Standing(ceiling), Backoff(first, ceiling, random)
        self.told, self.at, self.heard = told, 0.0, False

    def admitted(self, now):
        self.standing.began(now)

    def thrown_out(self, now):
        # The network loop looks at each turn, and so before the end too.
        if self.standing.has_settled(now):
            self.backoff.reset()
        if self.told:
            self.standing.taken_over()
        else:
            self.standing.closed(now, unanswered=False)
        self.heard |= self.standing.is_contested
        self.at = now + self.backoff.next()


@given(
    seed=st.integers(0, 1 << 32),
    first=st.sampled_from([0.05, 0.25, 2.0]),
    ceiling=st.sampled_from([5.0, 30.0, 300.0]),
    told=st.tuples(st.booleans(), st.booleans()),
    ahead=st.integers(0, 12),
)
def test_two_rivals_hear_of_it_and_do_not_spin(seed, first, ceiling, told, ahead):
    random = Random(seed)
    one, other = (Rival(first, ceiling, random, each) for each in told)
    for _ in range(ahead):
        other.backoff.next()
    now, swaps, inside = 0.0, [], one
    inside.admitted(now)
    other.at = random.uniform(0, 20)
    while now < HOUR:
        outside = other if inside is one else one
        now = outside.at
        outside.admitted(now)
        inside.thrown_out(now)
        swaps.append(now)
        inside = outside
    # Once the back-offs have grown, both wait half the ceiling at least between two of one.
    assert len(swaps) <= 2 * HOUR / ceiling + 40
    busiest = max(bisect(swaps, begin + 60) - at for at, begin in enumerate(swaps))
    assert busiest <= 120 / ceiling + 40, "swaps in a minute"
    assert one.heard
    assert other.heard
