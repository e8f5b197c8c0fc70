"""Text for a terminal."""

from __future__ import annotations

import unicodedata

_LINES = "\n\t"


def printable(text: str) -> str:
    """The text with escapes in place of characters that a terminal obeys: control characters and those of direction.

    Attributes of files and names of folders may come from strangers. A terminal that gets their escape sequences clears
    its screen, renames its window, or shows another text than the one that is there.

    >>> print(printable("red: \\x1b[31m, title: \\x1b]0;owned\\x07, backwards: \\u202e"))
    red: \\x1b[31m, title: \\x1b]0;owned\\x07, backwards: \\u202e
    """
    return "".join(repr(one)[1:-1] if one not in _LINES and _obeyed(one) else one for one in text)


def _obeyed(one: str) -> bool:
    return unicodedata.category(one) == "Cc" or unicodedata.bidirectional(one) in _DIRECTIONS


_DIRECTIONS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
