"""What people call features, checked: an unknown name is answered with the nearest known one."""

from collections.abc import Iterable
from http import HTTPStatus

from feast.errors import FeastError

from tastemaker import names
from tastemaker.errors import TastemakerError, nearest
from tastemaker.feature_tables import SERVICES, FeatureTable, feature_tables


class UnknownNameError(TastemakerError, FeastError):
    """A name that nothing here has. Feast's feature server answers it with 404 and the sentence."""

    def http_status_code(self) -> int:
        """404."""
        return int(HTTPStatus.NOT_FOUND)


def service_tables(service: str) -> tuple[FeatureTable, ...]:
    """The tables of a service. Raises UnknownNameError for an unknown service."""
    _require("feature service", service, SERVICES)
    return tuple(feature_tables()[table] for table in SERVICES[service])


def service_keys(service: str) -> tuple[str, ...]:
    """The key columns that a lookup in the service must give, `user_id` before `item_id`."""
    entities = {table.key for table in service_tables(service)}
    return tuple(key for key in (names.USER_ID, names.ITEM_ID) if key in entities)


def require_references(references: Iterable[str]) -> None:
    """Raises UnknownNameError for a `view:feature` of which the view or the feature is unknown."""
    tables = feature_tables()
    for reference in references:
        view, _, feature = reference.partition(":")
        _require("feature view", view, tables)
        _require(f"feature of {view}", feature, [known.name for known in tables[view].features])


def _require(kind: str, name: str, known: Iterable[str]) -> None:
    known = list(known)
    if name not in known:
        raise UnknownNameError(f"There is no {kind} '{name}'.{nearest(name, known)} Known are: {', '.join(known)}.")
