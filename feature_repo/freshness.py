"""A value whose TTL has ended is withheld, wherever features are looked up.

Feast 0.67 reads its online store without a look at the TTL (feast#6821), though its protocol has a status for such a
value: OUTSIDE_MAX_AGE. Here that status is set and the value taken out of the answer.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from feast.online_response import OnlineResponse
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.repo_config import RepoConfig

from feature_repo.materialization_state import materialized
from feature_repo.store import KnownNamesFeatureStore
from tastemaker.feature_tables import feature_tables
from tastemaker.home import Home


def withhold_stale(response: OnlineResponse, at: datetime) -> OnlineResponse:
    """Takes out of the answer every value whose stamp plus its view's TTL is before `at`; returns the answer."""
    ttls = _ttls()
    for name, vector in zip(response.proto.metadata.feature_names.val, response.proto.results, strict=True):
        # 'view__feature' when full names were asked for; a key column has no TTL
        ttl = ttls.get(name.rsplit("__", 1)[-1])
        if ttl is None:
            continue
        oldest = at - ttl
        for i, status in enumerate(vector.statuses):
            if status == FieldStatus.PRESENT and vector.event_timestamps[i].ToDatetime(tzinfo=UTC) < oldest:
                vector.values[i].Clear()
                vector.statuses[i] = FieldStatus.OUTSIDE_MAX_AGE
    return response


class FreshFeatureStore(KnownNamesFeatureStore):
    """Feast's SDK for a server that has no moment of its own: TTLs are held against the last materialization."""

    def __init__(self, home: Home, config: RepoConfig) -> None:
        super().__init__(config=config)
        self._home = home

    def get_online_features(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """As Feast's, without the stale values."""
        return withhold_stale(super().get_online_features(*args, **kwargs), materialized(self._home).online_as_of)

    async def get_online_features_async(self, *args: Any, **kwargs: Any) -> OnlineResponse:
        """As Feast's, without the stale values."""
        response = await super().get_online_features_async(*args, **kwargs)
        return withhold_stale(response, materialized(self._home).online_as_of)


@lru_cache(maxsize=1)
def _ttls() -> dict[str, timedelta]:
    return {
        feature.name: timedelta(days=table.ttl_days)
        for table in feature_tables().values()
        for feature in table.features
        if table.ttl_days
    }
