"""The requests and item snapshots of the last days, read once."""

from datetime import datetime, timedelta

import pyarrow as pa

from benchmarks.walk_forward.news_tower import between
from benchmarks.walk_forward.sessions import HOUR, LONGEST_SESSION, Site, lately_wanted, midnight

DAYS_AT_HAND = 4  # the sessions of 36 hours, begun up to a day before: with fewer, a day is read anew each hour


class Days:
    """The latest days of a site that were asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._at_hand: dict[datetime, tuple[pa.Table, pa.Table]] = {}
        self.begin = site.first_hour()

    def of(self, day: datetime) -> tuple[pa.Table, pa.Table]:
        """The requests of the sessions that began on a day, and the items lately wanted at each of its hours."""
        if day not in self._at_hand:
            if len(self._at_hand) == DAYS_AT_HAND:
                del self._at_hand[min(self._at_hand)]
            self._at_hand[day] = self._site.requests_of(day), lately_wanted(self._site.items_of(day))
        return self._at_hand[day]

    def past(self, hour: datetime, hours: int, columns: tuple[str, ...] = ()) -> pa.Table:
        """The requests that were answered by a click in the last hours before this one, with all columns or some."""
        since = hour - hours * HOUR
        days, day = [], max(midnight(since - LONGEST_SESSION), midnight(self.begin))
        while day < hour:
            requests, _ = self.of(day)
            answered = pa.array(between(requests, since, hour))
            days.append(requests.select(columns or requests.column_names).filter(answered))
            day += timedelta(days=1)
        return pa.concat_tables(days)
