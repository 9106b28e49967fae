"""Opens Feast on one home: the YAML beside this file with its variables filled in."""

from pathlib import Path
from string import Template
from typing import Any

import yaml
from feast import FeatureService, FeatureStore
from feast.feast_object import FeastObject
from feast.infra.offline_stores.offline_store import RetrievalJob
from feast.online_response import OnlineResponse
from feast.repo_config import RepoConfig

from feature_repo.definitions import definitions
from feature_repo.known_names import require_references, service_tables
from tastemaker.home import Home
from tastemaker.settings import Settings

REPOSITORY = Path(__file__).resolve().parent


class KnownNamesFeatureStore(FeatureStore):
    """Feast's SDK, in which an unknown service, view or feature is a sentence that names the nearest known one."""

    def get_feature_service(self, name: str, allow_cache: bool = False) -> FeatureService:
        """As Feast's. Raises UnknownNameError."""
        service_tables(name)
        return super().get_feature_service(name, allow_cache)

    def get_historical_features(
        self, entity_df: Any = None, features: list[str] | FeatureService | None = None, *args: Any, **kwargs: Any
    ) -> RetrievalJob:
        """As Feast's. Raises UnknownNameError."""
        wanted = features if features is not None else []
        _require_known(wanted)
        return super().get_historical_features(entity_df, wanted, *args, **kwargs)

    def get_online_features(
        self, features: list[str] | FeatureService, entity_rows: Any, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        """As Feast's. Raises UnknownNameError."""
        _require_known(features)
        return super().get_online_features(features, entity_rows, *args, **kwargs)

    async def get_online_features_async(
        self, features: list[str] | FeatureService, entity_rows: Any, *args: Any, **kwargs: Any
    ) -> OnlineResponse:
        """As Feast's. Raises UnknownNameError."""
        _require_known(features)
        return await super().get_online_features_async(features, entity_rows, *args, **kwargs)


def _require_known(features: list[str] | FeatureService) -> None:
    if not isinstance(features, FeatureService):
        require_references(features)


def open_store(home: Home) -> FeatureStore:
    """Feast's SDK on the home's registry, offline and online store (Redis when TASTEMAKER_REDIS_URL is set)."""
    return KnownNamesFeatureStore(config=repo_config(home, Settings().redis_url))


def repo_config(home: Home, redis_url: str | None) -> RepoConfig:
    """The configuration that `feast` reads from the YAML when TASTEMAKER_HOME names this home."""
    path = REPOSITORY / ("feature_store.redis.yaml" if redis_url else "feature_store.yaml")
    text = Template(path.read_text()).substitute(
        TASTEMAKER_HOME=home.root.resolve(), TASTEMAKER_REDIS_URL=redis_url or ""
    )
    config = RepoConfig(**yaml.safe_load(text))
    config.repo_path = REPOSITORY
    return config


def apply_definitions(home: Home, store: FeatureStore) -> None:
    """Registers what is declared, and removes from Feast what no longer is."""
    home.feast.mkdir(parents=True, exist_ok=True)
    declared = definitions(home)
    gone: list[FeastObject] = [
        *(service for service in store.list_feature_services() if service.name not in declared.services),
        *(view for view in store.list_feature_views() if view.name not in declared.views),
    ]
    store.apply(declared.objects(), objects_to_delete=gone, partial=False)
