"""What two towers look like: their dimensions, and which declared features they read."""

from dataclasses import dataclass

from tastemaker.feature_tables import Feature, feature_tables
from training.feature_tensors import NUMERIC_TYPES, user_features
from training.retrieval.encoders import EncoderName

ITEM_PROFILE = "item_profile"
ITEM_TITLE = "item_title"


@dataclass(frozen=True)
class TowerConfig:
    """The towers' shape, saved beside the weights.

    `item_numerics` are the item features that the candidate tower reads as numbers; `as_of` (microseconds since 1970
    UTC) stands in for a `request_timestamp` of 0.
    """

    dimension: int
    hidden: int  # units through which all but the history and the id move a vector; 0: nothing else is known
    interests: int  # vectors that the encoder makes of a history, e.g. a recent and a lasting taste
    user_texts: tuple[str, ...]
    user_numerics: tuple[str, ...]
    item_texts: tuple[str, ...]
    item_numerics: tuple[str, ...]
    as_of: int
    encoder: EncoderName = "mean"  # a tower saved before there was a choice has this one
    graph_steps: int = 0  # over which the items' vectors are smoothed; 0: none is
    popularity: bool = False  # the last of the dimensions holds an item's popularity, and 1 in a query

    @property
    def taste(self) -> int:
        """The leading dimensions, which are learnt and in which vectors have length 1."""
        return self.dimension - self.popularity

    @classmethod
    def declared(
        cls,
        dimension: int,
        as_of: int,
        hidden: int = 128,
        interests: int = 2,
        encoder: EncoderName = "mean",
        graph_steps: int = 0,
        popularity: bool = False,
    ) -> "TowerConfig":
        """Every scalar feature of `recommend_v1` and of `item_profile`.

        Not of `item_activity`: with it validation recall@20 on Online Retail fell from .136 to .123. What sells now is
        the ranker's to know.
        """
        profile = feature_tables()[ITEM_PROFILE].features
        return cls(
            dimension=dimension,
            hidden=hidden,
            interests=interests,
            user_texts=_named(user_features(), ("varchar",)),
            user_numerics=_named(user_features(), NUMERIC_TYPES),
            item_texts=tuple(name for name in _named(profile, ("varchar",)) if name != ITEM_TITLE),
            item_numerics=_named(profile, NUMERIC_TYPES),
            as_of=as_of,
            encoder=encoder,
            graph_steps=graph_steps,
            popularity=popularity,
        )


def _named(features: tuple[Feature, ...], dtypes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(feature.name for feature in features if feature.dtype in dtypes)
