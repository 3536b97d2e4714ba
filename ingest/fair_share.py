"""A shared room divided by who is in it: nobody fills it alone, and whoever comes next finds some free."""

from __future__ import annotations


class FairShare:
    """Grants parts of `total` to owners; not safe to use from several threads.

    An owner may hold as much as stays free: dynamic thresholds of Choudhury and Hahne (IEEE/ACM Transactions on
    Networking 6, 1998) with alpha 1. One owner gets half, two a third each, k a share of 1 / (k + 1), and there is
    always as much left for the next. Owners are forgotten once they hold nothing.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.used = 0
        self._held: dict[str, int] = {}

    def held(self, owner: str) -> int:
        """What the owner holds now."""
        return self._held.get(owner, 0)

    def take(self, owner: str, amount: int) -> bool:
        """Take the amount, if the owner's share and the room have it.

        >>> room = FairShare(90)
        >>> room.take("a", 40), room.take("a", 10), room.take("b", 20), room.take("b", 20)
        (True, False, True, False)
        """
        held = self.held(owner)
        # Alone, an owner takes whatever it asks for: what is larger than the room would otherwise never come in.
        if self.used and held + amount > self.total - self.used - amount:
            return False
        self._held[owner] = held + amount
        self.used += amount
        return True

    def give_back(self, owner: str, amount: int) -> None:
        """End a hold, or a part of it."""
        left = self.held(owner) - amount
        self.used -= amount
        if left > 0:
            self._held[owner] = left
        else:
            self._held.pop(owner, None)

    def crowds(self, owner: str) -> bool:
        """Does the owner hold at least as much as the owners do on average? Then the room is full of its own."""
        return self.held(owner) * max(len(self._held), 1) >= self.used > 0
