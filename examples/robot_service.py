"""A robot in an OS process of its own, used as if it were here.

Run it: ``python examples/robot_service.py``. It drives, learns a trick, tells how it
gets on, fails in a way that can be caught, and ends.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.services import register_function, services


class Robot:
    """Any class will do; nothing in it knows of services, but for what it learns."""

    def __init__(self, speed: int) -> None:
        self.speed = speed

    @property
    def is_fast(self) -> bool:
        """Whether it is faster than one walks."""
        return self.speed > 5

    def drive(self, metres: int, progress: Callable[[int], None]) -> str:
        """Drive, and tell of every metre."""
        if metres > 3:
            raise ValueError(f"{metres} m is too far")
        for metre in range(metres):
            progress(metre + 1)
        return f"drove {metres} m at {self.speed} km/h"

    def learn(self, trick: str) -> None:
        """Be able to do more than other robots."""
        register_function(trick, lambda: f"{trick}!")


def main() -> None:
    """Start one, use it, and let the end of the ``with`` end it."""
    with services() as house:
        robot = house.start("robot", Robot, speed=3)
        robot.speed = 7
        print("fast" if robot.is_fast else "slow")
        with house.remote_function(lambda metre: print("metre", metre)) as progress:
            print(robot.drive(2, progress))
            try:
                robot.drive(4, progress)
            except ValueError as error:
                print(type(error).__name__, error)
        robot.learn("spin")
        print(house.get_function("spin@robot")())
        print(house.running())


if __name__ == "__main__":
    main()
