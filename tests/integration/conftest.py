"""A release of the shop of two tastes, built once: it takes half a minute, and many files ask one."""

import pytest

from tastemaker.home import Home


@pytest.fixture(scope="session")
def two_tastes_release(tmp_path_factory) -> Home:
    """A home with training sets, models and a candidate as of `two_tastes.AS_OF`; whoever changes it takes a copy."""
    # Here, not above: TensorFlow takes seconds to import, and most files of this folder have no use for it.
    from toys import two_tastes as toy

    from training.ranking.fit import train_ranker
    from training.release.build import build_release

    home = Home(tmp_path_factory.mktemp("two_tastes") / "home")
    toy.fill_home(home)
    train_ranker(home, toy.CONFIG, toy.AS_OF)
    build_release(home, toy.CONFIG, toy.AS_OF)
    return home
