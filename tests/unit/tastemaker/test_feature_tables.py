"""The declarations of features: complete, and one name means one thing."""

from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.feature_tables import LIST_TYPES, SCALAR_TYPES, SERVICES, feature_tables, service_features


def test_every_feature_is_declared_whole() -> None:
    for table in feature_tables().values():
        assert table.owner and table.description and table.entity in ("user", "item")
        for feature in table.features:
            assert feature.dtype in SCALAR_TYPES + LIST_TYPES, feature.name
            assert feature.unit and feature.description, feature.name
            assert isinstance(feature.default, list) == feature.is_list, feature.name


def test_every_declared_type_has_one_in_arrow() -> None:
    assert set(ARROW_TYPES) == {*SCALAR_TYPES, *LIST_TYPES}


def test_a_name_is_used_once_in_all_tables() -> None:
    names = [feature.name for table in feature_tables().values() for feature in table.features]
    assert len(names) == len(set(names))


def test_services_list_known_tables_and_keep_their_order() -> None:
    for service, tables in SERVICES.items():
        assert set(tables) <= set(feature_tables())
        expected = [f.name for table in tables for f in feature_tables()[table].features]
        assert [f.name for f in service_features(service)] == expected
