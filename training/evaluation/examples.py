"""Three customers to look at: what they had, what was recommended, what they took."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tastemaker import names
from training.evaluation.answers import Answers
from training.evaluation.shop_day import DAY
from training.evaluation.systems import RELEASE
from training.feature_tensors import column_of, request_timestamps

SHOWN = 10


@dataclass(frozen=True)
class Example:
    """One request. `had` is (title, calendar days ago), latest first; `recommended` is (title, taken), best first."""

    user_id: str
    about: str
    moment: str
    had: list[tuple[str, int]]
    recommended: list[tuple[str, bool]]
    taken: int


def examples_of(answers: Answers, titles: Mapping[str, str]) -> list[Example]:
    """The last request with positives of the biggest, a middling and the newest customer that had bought before."""
    table = answers.requests
    value = column_of(table, "user_value_90d").fill_null(0.0).to_numpy(zero_copy_only=False)
    tenure = column_of(table, "user_tenure_days").fill_null(-1).to_numpy(zero_copy_only=False)
    users = column_of(table, names.USER_ID).to_numpy(zero_copy_only=False).astype(str)
    known = (tenure >= 0) & (np.bincount(answers.owner, minlength=len(table)) > 0)
    last = {user: row for row, user in enumerate(users) if known[row]}
    rows = np.array(sorted(last.values()), int)
    if not len(rows):
        return []
    by_value = rows[np.argsort(-value[rows], kind="stable")]
    kinds = {"largest in 90 days": by_value[0], "middling": by_value[len(rows) // 2]}
    kinds["newest"] = rows[np.argmin(tenure[rows])]
    seen: dict[int, str] = {}
    for kind, row in kinds.items():
        seen.setdefault(int(row), kind)
    return [_example(answers, titles, row, kind) for row, kind in seen.items()]


def _example(answers: Answers, titles: Mapping[str, str], row: int, kind: str) -> Example:
    request = answers.requests.slice(row, 1).to_pylist()[0]
    moment = int(request_timestamps(answers.requests.slice(row, 1))[0])
    had = zip(request["history_item_ids"] or [], request["history_timestamps"] or [], strict=True)
    taken = set(request[names.POSITIVE_ITEM_IDS] or [])
    listed = [answers.universe.item_ids[item] for item in answers.lists[RELEASE][row] if item >= 0][:SHOWN]
    country = request["user_country"]
    about = f"{kind}; customer for {request['user_tenure_days']} days" + (f"; {country}" if country else "")
    return Example(
        user_id=request[names.USER_ID],
        about=about,
        moment=f"{request[names.REQUEST_TIMESTAMP]:%Y-%m-%d %H:%M}",
        had=[(titles.get(item) or item, moment // DAY - when // DAY) for item, when in list(had)[:SHOWN]],
        recommended=[(titles.get(item) or item, item in taken) for item in listed],
        taken=len(taken),
    )
