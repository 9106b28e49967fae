"""The sessions that are answered and learnt from, and the items of each hour, through the platform's own features.

The protocol is that of Transformers4Rec (de Souza Pereira Moreira et al., RecSys 2021) for G1's clicks: sessions of at
least two clicks, cut at 20; asked for is the last item, from the clicks before it; a session belongs to the hour in
which it began. Half of the sessions, by a hash, are for tuning, the others are reported.
"""

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tastemaker import names
from tastemaker.config import Config, load_config
from tastemaker.home import Home
from tastemaker.moments import sql_timestamp
from tastemaker.settings import PROJECT_ROOT
from tastemaker.steps import digest_files
from training.datasets.item_snapshots import item_snapshots
from training.datasets.session_fold import fold_sessions
from training.feature_tensors import column_of, request_timestamps

CONFIG = PROJECT_ROOT / "benchmarks" / "globo.yaml"  # that the home was built with
HOUR = timedelta(hours=1)
CLICKS = 20  # of a session that count
LONGEST_SESSION = timedelta(hours=24)  # 834 of 1,041,734 have a click later than that, which is not learnt from
HOUR_OF_SESSION, ASKED, REPORTED = "hour", "asked", "reported"


@dataclass(frozen=True)
class Site:
    """A home that was built at hourly grain, and a folder in which what was joined once is kept for the next walk."""

    home: Home
    config: Config
    kept: Path

    @classmethod
    def of(cls, home: Home, config: Path) -> "Site":
        """With a folder in the home, another one for other features."""
        settings = load_config(config)
        joined = f"{digest_files([home.offline_store])[:12]}-{settings.features.history_length}"
        return cls(home, settings, home.root / "benchmarks" / "walk_forward" / joined)

    def first_hour(self) -> datetime:
        """The hour of the first request."""
        return self._asked_of_warehouse(f"select date_trunc('hour', min({names.REQUEST_TIMESTAMP})) from {{}}")

    def last_hour(self) -> datetime:
        """The last hour whose sessions are all there: two before the warehouse ends, or the last begun."""
        return self._asked_of_warehouse(
            f"select date_trunc('hour', max({names.REQUEST_TIMESTAMP})) - interval 1 hour from {{}}"
        )

    def _asked_of_warehouse(self, question: str) -> datetime:
        with duckdb.connect(str(self.home.warehouse), read_only=True) as warehouse:
            [(moment,)] = warehouse.execute(question.format(names.FCT_REQUESTS)).fetchall()
        return moment.replace(tzinfo=UTC)

    def everything(self) -> tuple[list[str], list[str]]:
        """The ids of every item there will be, and the users' countries: they get places in tables, no more."""
        days, day = [], midnight(self.first_hour())
        while day <= self.last_hour():
            days.append(day)
            day += timedelta(days=1)
        items = pa.chunked_array([chunk for day in days for chunk in self.items_of(day)[names.ITEM_ID].chunks])
        countries = pa.concat_tables([self.requests_of(day).select(["user_country"]) for day in days])["user_country"]
        found = [country for country in pc.unique(countries).to_pylist() if country]
        return sorted(pc.unique(items).to_pylist()), sorted(found)

    def requests_of(self, day: datetime) -> pa.Table:
        """Every request but a session's first, of the sessions that began on a day, by hour and time.

        Its features are as of the hour in which the session began, with the session's clicks in front of the history.
        `hour` is that hour, `asked` says whether it is the session's last, `reported` which half the session is of.
        """
        path = self.kept / f"requests-{day:%Y-%m-%d}.parquet"
        if not path.exists():
            _write(self._joined(day), path)
        return pq.read_table(path)

    def items_of(self, day: datetime) -> pa.Table:
        """The item snapshots at every full hour of a day."""
        path = self.kept / f"items-{day:%Y-%m-%d}.parquet"
        if not path.exists():
            hours = [day + n * HOUR for n in range(24)]
            until = self.last_hour() + 2 * HOUR
            _write(item_snapshots(self.home, [h for h in hours if self.first_hour() < h <= until]), path)
        return pq.read_table(path)

    def _joined(self, day: datetime) -> pa.Table:
        # Here, not above: Feast takes 3 s to import, and a walk that goes on does not need it.
        from feature_repo.historical import historical_features

        requests = self._requests(day)
        rows = pa.table({names.USER_ID: requests[names.USER_ID], names.EVENT_TIMESTAMP: requests[HOUR_OF_SESSION]})
        joined = historical_features(self.home, names.RECOMMEND_V1, rows)
        for name in joined.column_names[rows.num_columns :]:
            requests = requests.append_column(name, joined[name])
        return fold_sessions(requests, self.config.features.history_length)

    def _requests(self, day: datetime) -> pa.Table:
        with duckdb.connect(str(self.home.warehouse), read_only=True) as warehouse:
            found = warehouse.execute(
                f"""
                with turns as (
                    select
                        *,
                        min({names.REQUEST_TIMESTAMP}) over session as began,
                        row_number() over (
                            session order by
                                {names.REQUEST_TIMESTAMP}, cast(regexp_extract({names.REQUEST_ID}, '[0-9]+$') as int)
                        ) as turn
                    from {names.FCT_REQUESTS}
                    window session as (partition by {names.USER_ID}, {names.SESSION_ID})
                )
                select
                    * exclude (began, turn),
                    date_trunc('hour', began) as {HOUR_OF_SESSION},
                    turn = max(turn) over (partition by {names.USER_ID}, {names.SESSION_ID}) as {ASKED}
                from turns
                where turn between 2 and {CLICKS}
                  and began >= {sql_timestamp(day)} and began < {sql_timestamp(day + timedelta(days=1))}
                order by {HOUR_OF_SESSION}, {names.REQUEST_TIMESTAMP}, {names.REQUEST_ID}
                """
            ).to_arrow_table()
        sessions = found[names.SESSION_ID].to_pylist()
        return found.append_column(REPORTED, pa.array([reported(session) for session in sessions], pa.bool_()))


def reported(session_id: str) -> bool:
    """Whether a session is of the half that is reported.

    >>> [reported(session) for session in ("1507657384234390", "1506825423271737", "1506825426267738")]
    [False, True, True]
    """
    return zlib.crc32(session_id.encode()) % 2 == 1


def of_hour(table: pa.Table, hour: datetime, column: str = HOUR_OF_SESSION) -> pa.Table:
    """The rows of one hour."""
    return table.filter(pc.equal(table[column], pa.scalar(hour.replace(tzinfo=None), pa.timestamp("us"))))


def session_numbers(requests: pa.Table) -> np.ndarray:
    """int32 `[requests]`: requests of one session have the same number, and no others."""
    keys = pc.binary_join_element_wise(requests[names.USER_ID], requests[names.SESSION_ID], "/")
    return np.asarray(keys.combine_chunks().dictionary_encode().indices)


def latest_of_sessions(known: pa.Table) -> pa.Table:
    """Of each session the latest of the requests that are known by now, whether or not the session goes on."""
    return known.take(latest_rows(session_numbers(known), request_timestamps(known)))


def latest_rows(sessions: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """The row of each session's last moment, in the order of rows; of equal moments the later row's.

    >>> latest_rows(np.array([7, 8, 7, 9, 8]), np.array([3, 1, 4, 1, 1])).tolist()
    [2, 3, 4]
    """
    order = np.lexsort((np.arange(len(sessions)), moments, sessions))
    last = np.append(sessions[order][1:] != sessions[order][:-1], True)[: len(order)]
    return np.sort(order[last])


def wanted(requests: pa.Table) -> pa.Array:
    """The item that each request asks for, text `[requests]`: a next-item request has one."""
    return pc.list_element(column_of(requests, names.POSITIVE_ITEM_IDS), 0)


def midnight(moment: datetime) -> datetime:
    """The day that a moment is of."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def lately_wanted(items: pa.Table) -> pa.Table:
    """The items that somebody wanted in the three days before their moment: at a midnight the store has all."""
    return items.filter(pc.less(items["item_days_since_last_event"], 3).fill_null(False))


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    pq.write_table(table, beside, compression="zstd")
    beside.rename(path)
