"""What is put into a creative's markup, and what can be seen from it. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final
from urllib.parse import quote

# Our own macros. The standard's (${AUCTION_PRICE} and its like) are the exchange's to replace.
CLICK: Final = ("{click}", "${CLICK_URL}")
CLICK_ENCODED: Final = ("{click_encoded}", "${CLICK_URL_ENC}")
# Names of XML dialects begin with http:// and load nothing.
_INSECURE: Final = re.compile(r"http://(?!www\.w3\.org/|www\.iab\.(?:com|net)/|www\.iabtechlab\.com/)", re.IGNORECASE)
# Banner ad types of the standard: 2 image or other HTML, 3 JavaScript, 4 iframe.
_HTML, _JAVASCRIPT, _IFRAME = 2, 3, 4
_SEEN_MAX: Final = 4_096


def filled(markup: str, click_url: str) -> str:
    """The markup with our macros replaced, once and in one pass.

    >>> filled("<a href='{click}'>${AUCTION_PRICE}</a>", "https://b.example/c?t=1")
    "<a href='https://b.example/c?t=1'>${AUCTION_PRICE}</a>"
    >>> filled("https://t.example/?next={click_encoded}", "https://b.example/c?t=1")
    'https://t.example/?next=https%3A%2F%2Fb.example%2Fc%3Ft%3D1'
    """
    if "{click" not in markup and "${CLICK_" not in markup:
        return markup
    return _MACRO.sub(lambda found: quote(click_url, safe="") if found[0] in CLICK_ENCODED else click_url, markup)


_MACRO: Final = re.compile("|".join(re.escape(macro) for macro in (*CLICK, *CLICK_ENCODED)))


@lru_cache(_SEEN_MAX)
def insecure(markup: str) -> bool:
    """Does it load anything over http?

    >>> insecure("<img src='http://a.example/'>"), insecure("<x xmlns='http://www.w3.org/2000/svg'>")
    (True, False)
    """
    return _INSECURE.search(markup) is not None


@lru_cache(_SEEN_MAX)
def banner_type(markup: str) -> int:
    """The standard's banner ad type of HTML.

    >>> banner_type("<a></a>"), banner_type("<SCRIPT>1</SCRIPT>"), banner_type("<iframe src=''>")
    (2, 3, 4)
    """
    lower = markup.lower()
    if "<script" in lower:
        return _JAVASCRIPT
    return _IFRAME if "<iframe" in lower else _HTML
