"""A process of Penstock as an actor that is stepped: it can be killed, frozen and started again, and it can crash."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from random import Random
from typing import Final

from schemas.log import Log
from tests.simulation.clock import SimClock

# A supervisor's back-off between restarts.
RESTART_S: Final = 1.0


class KilledError(BaseException):
    """The process ends here, in the middle of whatever it does."""


class Process(ABC):
    """Started, stepped, killed. What `step` and `start` raise is a crash: a supervisor starts it again."""

    name: str

    def __init__(self, clock: SimClock, rng: Random) -> None:
        self.clock = clock
        self.rng = rng
        self.alive = False
        self.frozen_until_s = 0.0
        self.start_at_s = 0.0
        # Times it has crashed, and its last words.
        self.crashes = 0
        self.last_words = ""
        self.log: Log

    @abstractmethod
    def open_log(self) -> Log:
        """A connection to the log of its own."""

    @abstractmethod
    def start(self) -> None:
        """Begin anew, with nothing but what is durable."""

    @abstractmethod
    def step(self) -> bool:
        """Do some work; False when there was none."""

    def turn(self) -> bool:
        """One step, or the start that is due; False when nothing was done."""
        now_s = self.clock.mono_s()
        if now_s < self.frozen_until_s or (not self.alive and now_s < self.start_at_s):
            return False
        try:
            if not self.alive:
                self.log = self.open_log()
                self.start()
                self.alive = True
                return True
            return self.step()
        except KilledError:
            self.kill()
        except Exception:
            self.crashes += 1
            self.last_words = traceback.format_exc(limit=-6)
            self.kill()
        return False

    @property
    def last_line(self) -> str:
        """What the last crash says."""
        return self.last_words.strip().rpartition("\n")[2]

    def kill(self) -> None:
        """Memory is gone; it starts again after a while."""
        self.alive = False
        self.start_at_s = self.clock.mono_s() + RESTART_S

    def freeze(self, seconds: float) -> None:
        """No step for so long, and everything it holds stays held."""
        self.frozen_until_s = self.clock.mono_s() + seconds

    def wake(self) -> None:
        """Neither frozen nor waiting for its restart."""
        self.frozen_until_s = self.start_at_s = 0.0
