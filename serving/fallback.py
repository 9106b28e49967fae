"""What to show when no model answers: the most popular items of the last release seen, from its manifest."""

from collections.abc import Callable
from dataclasses import dataclass

from serving.manifest import read_manifest
from serving.releases.labels import read_served
from serving.releases.versions import releases_folder
from tastemaker.errors import TastemakerError
from tastemaker.home import Home


@dataclass(frozen=True)
class PopularItems:
    """Items, most popular first, and the release whose list it is."""

    release: str
    item_ids: tuple[str, ...]


# The version that answered last (0: none yet) → its list, None where there is none.
Fallback = Callable[[int], PopularItems | None]


def popular_of_home(home: Home) -> Fallback:
    """The lists of a home's published releases: the version that answered last, else the stable one.

    A list once read is kept, so that it is there when the folder no longer is.
    """
    kept: dict[int, PopularItems] = {}

    def read(version: int) -> PopularItems | None:
        for wanted in (version, _stable(home)):
            if wanted and wanted not in kept:
                found = _of_manifest(home, wanted)
                if found is not None:
                    kept[wanted] = found
            if wanted in kept:
                return kept[wanted]
        return None

    return read


def _stable(home: Home) -> int:
    try:
        return read_served(home).stable or 0
    except TastemakerError:
        return 0  # nobody can read what is served: then nothing is known to be stable


def _of_manifest(home: Home, version: int) -> PopularItems | None:
    try:
        manifest = read_manifest(releases_folder(home) / str(version))
    except TastemakerError:
        return None
    items = manifest.get("items", {}).get("popular") or ()
    return PopularItems(str(manifest.get("release", version)), tuple(items)) if items else None
