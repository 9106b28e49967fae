"""Which files `tastemaker ingest` lands: those that somebody named, else those that the source itself can find."""

from collections.abc import Mapping

from ingest.discovery import Found
from ingest.globo import find_globo
from ingest.online_retail import find_online_retail
from ingest.sources import GLOBO, ONLINE_RETAIL
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


def resolve(source: str, path: str | None, named: Mapping[str, str | None], home: Home) -> Found:
    """The files that `tastemaker ingest` is to land.

    Args:
        path: the files somebody named for this run; they win.
        named: source → the path or URL that the settings name for it, or None.
        home: where downloads are kept.

    Raises TastemakerError when a source that cannot fetch its files comes without a path.
    """
    if source == GLOBO.name:
        return find_globo(path or named.get(source))
    if path is not None:
        return Found(source, path, False, f"Source {source}: {path}.")
    if source == ONLINE_RETAIL.name:
        return find_online_retail(named.get(source), home)
    raise TastemakerError(f"Source '{source}' needs its files: name them with --path or TASTEMAKER_PATH.")
