"""Make texts from files and other programs safe to print."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with an escape such as `\x1b` in place of every character that a terminal cannot show.

    Control characters could move the cursor or change colours, and a lone surrogate cannot be encoded.

    Args:
        text: any text.
        keep: characters that stay, such as a line feed.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
