"""Why a change was refused."""

from __future__ import annotations


class ControlError(Exception):
    """A change that cannot be made; the message says why."""


class UnknownCampaignError(ControlError):
    """There is no such campaign."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(f"there is no campaign {campaign_id!r}")


class UnknownVersionError(ControlError):
    """The campaign never had this version."""

    def __init__(self, campaign_id: str, version: int) -> None:
        super().__init__(f"campaign {campaign_id!r} has no version {version}")


class VersionConflictError(ControlError):
    """Someone else changed the campaign since the caller read it."""

    def __init__(self, campaign_id: str, expected: int, current: int) -> None:
        super().__init__(f"campaign {campaign_id!r} is at version {current}, not {expected}: read it again")
        self.current = current


class FixedFieldError(ControlError):
    """A field that cannot change once the campaign exists."""

    def __init__(self, field: str, before: str, after: str) -> None:
        super().__init__(f"{field} is {before} and cannot become {after}: make another campaign")
        self.field = field


class OverrideError(ControlError):
    """An override whose action and bid do not fit together."""
