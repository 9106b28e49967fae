"""Where the Globo clicks come from: a file that was named, for nobody may pass them on.

De Souza Pereira Moreira, Ferreira & da Cunha (2018), doi 10.1145/3270323.3270328; arXiv:1904.10367.
"""

from pathlib import Path

from ingest.discovery import Found
from ingest.sources import GLOBO
from tastemaker.errors import TastemakerError

TERMS = "research and education only; cite doi 10.1145/3270323.3270328"


def find_globo(named: str | None) -> Found:
    """The clicks that `tastemaker ingest` is to land.

    Args:
        named: TASTEMAKER_GLOBO, a path or URL, or None.

    Raises TastemakerError when none is named, or there is nothing at the path.
    """
    if named is None:
        raise TastemakerError(
            f"The Globo clicks cannot be fetched ({TERMS}): get them from their authors and name the file, or the "
            "folder of clicks_hour_*.csv, with --path or TASTEMAKER_GLOBO."
        )
    if "://" not in named and not Path(named).expanduser().exists():
        raise TastemakerError(
            f"There are no Globo clicks at {named}, and they cannot be fetched ({TERMS}): get them from their authors "
            "and name the file with --path or TASTEMAKER_GLOBO."
        )
    return Found(GLOBO.name, named, False, f"Source globo: {named} ({TERMS}).")
