"""Time is an argument: how an `as_of` is read from a person and written into a path."""

from datetime import UTC, datetime, timedelta

from tastemaker.errors import TastemakerError


def parse_as_of(text: str) -> datetime:
    """Reads an ISO 8601 moment as aware UTC, to the microsecond; a bare date is its midnight.

    Raises TastemakerError when the text is no moment, or has a time of day without a zone.

    >>> parse_as_of("2011-12-10").isoformat()
    '2011-12-10T00:00:00+00:00'
    >>> parse_as_of("2011-12-10T02:00:00+02:00").isoformat()
    '2011-12-10T00:00:00+00:00'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise TastemakerError(
            f"as_of '{text}' is not a moment; "
            "write a date (2011-12-10) or an ISO time with its zone (2011-12-10T00:00:00Z)."
        ) from None
    if moment.tzinfo is None:
        if "T" in text or " " in text.strip():
            raise TastemakerError(
                f"as_of '{text}' has a time of day but no time zone; add one, for UTC a Z: '{text}Z'."
            )
        return moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC)


def as_of_slug(as_of: datetime) -> str:
    """The moment as a folder name that sorts by time.

    >>> as_of_slug(datetime(2011, 12, 10, tzinfo=UTC))
    '20111210T000000Z'
    """
    moment = as_of.astimezone(UTC)
    return moment.strftime("%Y%m%dT%H%M%S") + (f".{moment.microsecond:06d}" if moment.microsecond else "") + "Z"


def sql_timestamp(moment: datetime) -> str:
    """The moment as a DuckDB literal of type TIMESTAMP, UTC by the project's convention.

    >>> sql_timestamp(datetime(2011, 12, 10, tzinfo=UTC))
    "TIMESTAMP '2011-12-10 00:00:00.000000'"
    """
    return f"TIMESTAMP '{moment.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}'"


def from_microseconds(count: int) -> datetime:
    """The aware UTC moment so many microseconds after 1970-01-01.

    >>> from_microseconds(microseconds(datetime(2011, 12, 10, tzinfo=UTC))).isoformat()
    '2011-12-10T00:00:00+00:00'
    """
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=count)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970-01-01 UTC, exactly.

    >>> microseconds(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
