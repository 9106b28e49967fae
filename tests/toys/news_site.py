"""A news site in memory: whoever reads story n reads n + 1 next, and what is read moves on from hour to hour."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.walk_forward.sessions import ASKED, HOUR, HOUR_OF_SESSION, REPORTED, Site, midnight
from tastemaker import names
from tastemaker.arrow_types import ARROW_TYPES
from tastemaker.config import Config
from tastemaker.feature_tables import Feature
from tastemaker.home import Home
from tastemaker.moments import microseconds
from training.feature_tensors import item_features, user_features

START = datetime(2017, 10, 2, 3, tzinfo=UTC)
HOURS = 12
STORIES = 60
SESSIONS = 60  # an hour

CONFIG = Config.model_validate(
    {
        "version": 1,
        "events": {"requests": "next_item", "lateness_days": 0},
        "features": {"grain": "hour", "history_length": 5, "neighbours": 4},
        "candidates": {
            "two_tower": 25,
            "history": 0,
            "popular": 25,
            "popular_half_life_days": 0.1,
            "co_visitation": 5,
            "user_knn": 10,
            "session_half_life_days": 0.5,
        },
        "retriever": {"embedding_dimension": 8, "batch_size": 64, "learning_rate": 0.02},
        "ranker": {"leaves": 7, "max_trees": 20, "learning_rate": 0.2},
    }
)


@dataclass(frozen=True)
class NewsSite(Site):
    """A site, or its twin that is the same until an hour.

    Attributes:
        changed_from: the hour from which on those who are not reported read the story before, not the one after.
        goes_on_from: a session whose second click was in the hour before has a third, fifty minutes after it.
    """

    changed_from: datetime | None = None
    goes_on_from: datetime | None = None

    def first_hour(self) -> datetime:
        """The first hour with a session."""
        return START

    def last_hour(self) -> datetime:
        """The last one."""
        return START + (HOURS - 1) * HOUR

    def requests_of(self, day: datetime) -> pa.Table:
        """Sessions of two clicks, the second five minutes after the first."""
        rows = []
        for hour in self._hours(day):
            random = np.random.default_rng(hour.hour)
            changed = self.changed_from is not None and hour >= self.changed_from
            for session in range(SESSIONS):
                step = -1 if changed and session % 2 else 1
                story = int(random.integers(STORIES // 2)) + hour.hour
                clicked = hour + timedelta(minutes=int(random.integers(50)))
                moments = [clicked, clicked + timedelta(minutes=5), clicked + timedelta(minutes=55)]
                on = self.goes_on_from is not None and moments[1] < self.goes_on_from <= moments[2]
                turns = 3 if on else 2
                for turn in range(2, turns + 1):
                    before = [f"story-{story + step * n:02}" for n in reversed(range(turn - 1))]
                    rows.append(
                        {
                            names.REQUEST_ID: f"u/{hour:%H}-{session}/{turn}",
                            names.USER_ID: "u",
                            names.SESSION_ID: f"{hour:%H}-{session}",
                            HOUR_OF_SESSION: hour.replace(tzinfo=None),
                            names.REQUEST_TIMESTAMP: moments[turn - 1].replace(tzinfo=None),
                            names.SESSION_ITEM_IDS: before,
                            names.POSITIVE_ITEM_IDS: [f"story-{story + step * (turn - 1):02}"],
                            ASKED: turn == turns,
                            REPORTED: session % 2 == 0,
                            "history_item_ids": before,
                            "history_timestamps": [microseconds(moment) for moment in reversed(moments[: turn - 1])],
                            "history_event_types": ["click"] * (turn - 1),
                            "history_counts": [1] * (turn - 1),
                        }
                    )
        return _table(rows, user_features())

    def items_of(self, day: datetime) -> pa.Table:
        """Every story at every hour; it is known which comes next to which."""
        rows = [
            {
                names.ITEM_ID: f"story-{story:02}",
                "day": hour.replace(tzinfo=None),
                "item_days_since_last_event": 0,
                "neighbour_item_ids": [f"story-{other:02}" for other in (story + 1, story - 1) if 0 <= other < STORIES],
                "neighbour_scores": [0.5 for other in (story + 1, story - 1) if 0 <= other < STORIES],
            }
            for hour in self._hours(day)
            for story in range(STORIES)
        ]
        return _table(rows, item_features())

    def otherwise_from(self, hour: datetime) -> "NewsSite":
        """The same site until an hour."""
        return replace(self, changed_from=hour)

    def going_on_from(self, hour: datetime) -> "NewsSite":
        """The same site until an hour; then the sessions of the hour before go on."""
        return replace(self, goes_on_from=hour)

    def _hours(self, day: datetime) -> list[datetime]:
        hours = (START + n * HOUR for n in range(HOURS))
        return [hour for hour in hours if midnight(hour) == day]


def news_site(folder: Path) -> NewsSite:
    """The site; `folder` is where a walk's figures are kept."""
    return NewsSite(Home(folder), CONFIG, folder)


def _table(rows: list[dict[str, object]], features: tuple[Feature, ...]) -> pa.Table:
    """The rows with every feature that they do not name missing."""
    table = pa.Table.from_pylist(rows)
    for feature in features:
        kind = ARROW_TYPES[feature.dtype]
        if feature.name in table.column_names:
            at = table.column_names.index(feature.name)
            table = table.set_column(at, feature.name, table[feature.name].cast(kind))
        else:
            table = table.append_column(feature.name, pa.nulls(len(table), kind))
    return table
