"""A purchase that is told a day late, through ingest, transform and materialize: what it should change, and no more."""

import random
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from shop_days import USERS, ann_on, offline, online, run_day
from toys.landing_events import event, event_table

from feature_repo.parity import check_parity
from tastemaker.home import Home

pytestmark = pytest.mark.integration

MONDAY = datetime(2024, 3, 11)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
# ann bought the ink on Sunday noon, with a pad; the till told of the ink on Monday afternoon
LATE = event("late", user_id="ann", item_id="ink", event_type="purchase", value=7.0, session_id="ann's Sunday",
             event_timestamp=MONDAY - 12 * HOUR, created_timestamp=MONDAY + 15 * HOUR)  # fmt: skip


def sales() -> list[dict[str, Any]]:
    """Forty purchases over ten days, and two sessions; a second one with ink and pad would make them neighbours."""
    draw = random.Random(5)
    bought = {"ann": ["pad", "pen"], "bob": ["ink", "pen"], "cy": ["nib", "pad"]}
    rows = []
    for number in range(40):
        user = draw.choice(USERS)
        at = MONDAY - timedelta(seconds=draw.randrange(13 * HOUR.seconds, 10 * 86_400))
        rows.append(
            event(f"e{number}", user_id=user, item_id=draw.choice(bought[user]), event_type="purchase",
                  value=float(number), event_timestamp=at, created_timestamp=at)
        )  # fmt: skip
    for user, item in (("cy", "ink"), ("cy", "pad"), ("ann", "pad")):
        at = MONDAY - 12.5 * HOUR
        rows.append(
            event(f"{user} {item}", user_id=user, item_id=item, event_type="purchase", value=1.0,
                  session_id=f"{user}'s Sunday", event_timestamp=at, created_timestamp=at)
        )  # fmt: skip
    return rows


def test_a_late_purchase_changes_what_it_should_and_nothing_else(home: Home, tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    (shop / "events").mkdir(parents=True)
    pq.write_table(event_table(sales()), shop / "events" / "1.parquet")
    run_day(home, shop, MONDAY)
    labels = [MONDAY - 2 * DAY, MONDAY]
    before = ann_on(home, *labels)
    assert before[1]["user_interactions_7d"] > 0

    on_time = Home(tmp_path / "on_time")
    shutil.copytree(home.root, on_time.root)
    run_day(on_time, shop, MONDAY + DAY)
    pq.write_table(event_table([LATE]), shop / "events" / "2.parquet")
    run_day(home, shop, MONDAY + DAY)

    # online: ann, the ink, and that ink and pad are neighbours
    was, now = online(on_time), online(home)
    changed = {place for place in now if now[place] != was[place]}
    assert changed == {
        ("user_activity", "ann"),
        ("user_history", "ann"),
        ("item_activity", "ink"),
        ("item_neighbours", "ink"),
        ("item_neighbours", "pad"),
    }
    counted = "user_interactions_7d"
    assert now["user_activity", "ann"][counted] == was["user_activity", "ann"][counted] + 1
    assert now["user_history", "ann"]["history_item_ids"][0] == "ink", "newest first"
    assert check_parity(home, 10).values > 0

    # offline: a later version beside the rows that were known before, which stay as they were
    lost, gained = offline(on_time) - offline(home), offline(home) - offline(on_time)
    assert {row[3] for row in lost | gained} == {MONDAY + DAY}
    assert {(row[0], row[1]) for row in gained} == changed
    corrected = {(row[0], row[1]) for row in gained if row[2] == MONDAY}
    assert {("user_activity", "ann"), ("user_history", "ann"), ("item_activity", "ink")} <= corrected

    # a label before the till told is given what was known then; one after it, the purchase
    assert ann_on(home, *labels) == before
    assert ann_on(home, MONDAY + 14 * HOUR) == ann_on(on_time, MONDAY + 14 * HOUR)
    [told] = ann_on(home, MONDAY + DAY)
    assert told[counted] == now["user_activity", "ann"][counted]
    assert ann_on(on_time, MONDAY + DAY) != [told]
