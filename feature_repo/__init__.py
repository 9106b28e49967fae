"""Feast: entities, views, services, the offline-store plug-in, materialization and lookups."""

from collections.abc import Callable
from typing import Any

import typeguard


def _as_it_is(target: Any = None, **_options: Any) -> Any:
    """Stands in for `typeguard.typechecked`, with or without options: what it decorates stays what it is."""
    unchanged: Callable[[Any], Any] = lambda decorated: decorated  # noqa: E731
    return unchanged if target is None else target


# Feast has typeguard rewrite the source of its classes at each import: 2.3 of 3.4 CPU seconds, in every process. What
# it would check at run time, the types of our own few definitions, mypy and the tests check before. In place before
# the first module of this package imports Feast.
typeguard.typechecked = _as_it_is
