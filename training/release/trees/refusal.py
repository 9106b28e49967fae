"""The one error of this package: a model or a tensor that it cannot compile or score exactly, named in a sentence."""

from collections.abc import Iterable
from difflib import get_close_matches


class ForestRefusedError(ValueError):
    """What was wrong with the model or the features, what was expected and what to do, in one sentence."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name closest to a misspelt one, as the tail of an error sentence; empty when nothing is close.

    >>> nearest("regresion", ["regression", "binary"])
    " Did you mean 'regression'?"
    >>> nearest("zzz", ["regression"])
    ''
    """
    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
