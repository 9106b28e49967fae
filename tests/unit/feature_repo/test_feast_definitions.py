from pathlib import Path

from feast.repo_operations import get_repo_files

from feature_repo.definitions import definitions
from feature_repo.exact_engine import VALUES
from feature_repo.services import DESCRIPTIONS
from feature_repo.store import REPOSITORY
from feature_repo.views import FEAST_TYPES
from tastemaker.feature_tables import LIST_TYPES, SCALAR_TYPES, SERVICES, feature_tables, service_features
from tastemaker.home import Home


def test_feast_reads_definitions_alone() -> None:
    assert get_repo_files(REPOSITORY) == [REPOSITORY / "definitions.py"]


def test_every_type_and_service_has_its_feast_side() -> None:
    assert set(FEAST_TYPES) == {*SCALAR_TYPES, *LIST_TYPES}
    assert {str(dtype) for dtype, _ in VALUES} == {str(dtype) for dtype in FEAST_TYPES.values()}
    assert set(DESCRIPTIONS) == set(SERVICES)


def test_a_feature_name_stands_once() -> None:
    names = [feature.name for table in feature_tables().values() for feature in table.features]
    assert len(names) == len(set(names)), "plain names are columns of training sets and inputs of signatures"


def test_a_service_is_its_views_in_order(tmp_path: Path) -> None:
    declared = definitions(Home(tmp_path))
    for service, found in declared.services.items():
        fields = [field.name for projection in found.feature_view_projections for field in projection.features]
        assert fields == [feature.name for feature in service_features(service)]
    assert {view.batch_source.path for view in declared.views.values()} == {
        str(tmp_path / "offline_store" / f"{table}.parquet") for table in feature_tables()
    }
