"""What laws and people's settings allow: where any of them speaks up, nothing that names a person is kept. Pure.

Consent strings (TCF, GPP) are not read: whoever bids without them needs none of what they would allow.
"""

from __future__ import annotations

from api.openrtb.messages import BidRequest


def person_of(request: BidRequest) -> str | None:
    """The user id to keep with an impression; None where there is none, or where it must not be kept."""
    if request.user is None or is_protected(request):
        return None
    return request.user.buyeruid or request.user.id


def is_protected(request: BidRequest) -> bool:
    """COPPA, GDPR, an opt-out of sale (US Privacy), a section of GPP in force, or limited tracking on the device.

    >>> from api.openrtb.messages import decode_request
    >>> is_protected(decode_request(b'{"id": "1", "imp": [], "regs": {"us_privacy": "1YYN"}}'))
    True
    """
    device, regs = request.device, request.regs
    if device is not None and (device.lmt == 1 or device.dnt == 1):
        return True
    if regs is None:
        return False
    if regs.coppa == 1:
        return True
    for told in (regs, regs.ext):
        if told is None:
            continue
        # Position 3 of a US Privacy string: whether the person opted out of sale.
        opted_out = told.us_privacy is not None and told.us_privacy[2:3].upper() == "Y"
        # -1: no section applies.
        in_force = any(section > 0 for section in told.gpp_sid or ())
        if told.gdpr == 1 or opted_out or in_force or (told.gpp is not None and told.gpp_sid is None):
            return True
    return False
