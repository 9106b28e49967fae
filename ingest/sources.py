"""The registry of sources. A further source is one declaration here and one staging folder in the dbt project."""

from ingest.contract import Check, Column, LogColumns, Source, Table
from tastemaker import names
from tastemaker.errors import TastemakerError, nearest

_TIMES = (
    Column(names.EVENT_TIMESTAMP, "TIMESTAMP", nullable=False),
    Column(names.CREATED_TIMESTAMP, "TIMESTAMP", nullable=False),
)
_ATTRIBUTES = Column("attributes", "MAP(VARCHAR, VARCHAR)", optional=True)

LANDING = Source(
    name="landing",
    tables=(
        Table(
            name=names.EVENTS,
            columns=(
                Column(names.EVENT_ID, "VARCHAR", nullable=False, is_id=True),
                Column(names.USER_ID, "VARCHAR", is_id=True),
                Column(names.ITEM_ID, "VARCHAR", nullable=False, is_id=True),
                Column(names.EVENT_TYPE, "VARCHAR", nullable=False, known=names.EVENT_TYPES),
                *_TIMES,
                Column(names.VALUE, "DOUBLE", optional=True),
                Column(names.SESSION_ID, "VARCHAR", optional=True, is_id=True),
                Column(names.REQUEST_ID, "VARCHAR", optional=True, is_id=True),
                Column(names.POSITION, "INTEGER", optional=True, low=0),
                Column(names.PROPENSITY, "DOUBLE", optional=True, above=0, high=1),
                Column(names.RELEASE, "VARCHAR", optional=True, is_id=True),
                Column(names.CONTEXT, "MAP(VARCHAR, VARCHAR)", optional=True),
            ),
            time_column=names.EVENT_TIMESTAMP,
            created_column=names.CREATED_TIMESTAMP,
            unique=(names.EVENT_ID,),
            checks=(
                Check(
                    name="recorded before it happened",
                    column=names.CREATED_TIMESTAMP,
                    broken=f"{names.EVENT_TIMESTAMP} > {names.CREATED_TIMESTAMP} + INTERVAL 1 DAY",
                    reason="created_timestamp is more than a day before event_timestamp: recorded before it happened",
                ),
                Check(
                    name="negative value",
                    column=names.VALUE,
                    broken=f"{names.EVENT_TYPE} <> 'refund' AND {names.VALUE} < 0",
                    reason="value is negative, which only a refund's may be",
                ),
            ),
        ),
        Table(
            name=names.ITEMS,
            columns=(
                Column(names.ITEM_ID, "VARCHAR", nullable=False, is_id=True),
                Column("title", "VARCHAR", optional=True),
                Column("description", "VARCHAR", optional=True),
                Column("category", "VARCHAR", optional=True),
                Column("brand", "VARCHAR", optional=True),
                Column("price", "DOUBLE", optional=True, low=0),
                _ATTRIBUTES,
                *_TIMES,
            ),
            time_column=names.EVENT_TIMESTAMP,
            created_column=names.CREATED_TIMESTAMP,
            unique=(names.ITEM_ID, names.EVENT_TIMESTAMP, names.CREATED_TIMESTAMP),
            required=False,
        ),
        Table(
            name=names.USERS,
            columns=(
                Column(names.USER_ID, "VARCHAR", nullable=False, is_id=True),
                Column("country", "VARCHAR", optional=True),
                _ATTRIBUTES,
                Column("consent", "BOOLEAN", optional=True),
                *_TIMES,
            ),
            time_column=names.EVENT_TIMESTAMP,
            created_column=names.CREATED_TIMESTAMP,
            unique=(names.USER_ID, names.EVENT_TIMESTAMP, names.CREATED_TIMESTAMP),
            required=False,
        ),
    ),
    log_columns=LogColumns(user_id=names.USER_ID, item_id=names.ITEM_ID, amount=names.VALUE),
)

# Shop logic (cancellations, codes that are no goods, prices of zero) is staging's: here is only what every row needs.
# InvoiceDate has no zone; the shop is in the UK and the file says no more, so it is read as UTC.
ONLINE_RETAIL = Source(
    name="online_retail",
    tables=(
        Table(
            name="order_lines",
            columns=(
                Column("invoice_no", "VARCHAR", nullable=False, is_id=True, raw="InvoiceNo"),
                Column("stock_code", "VARCHAR", nullable=False, is_id=True, raw="StockCode"),
                Column("description", "VARCHAR", raw="Description"),
                Column("quantity", "INTEGER", nullable=False, raw="Quantity"),
                Column("invoice_date", "TIMESTAMP", nullable=False, raw="InvoiceDate"),
                Column("unit_price", "DOUBLE", nullable=False, raw="UnitPrice"),
                Column("customer_id", "BIGINT", raw="CustomerID"),
                Column("country", "VARCHAR", raw="Country"),
            ),
            time_column="invoice_date",
        ),
    ),
    log_columns=LogColumns(user_id="customer_id", item_id="stock_code", amount="quantity * unit_price"),
    suffixes=(".parquet", ".csv", ".csv.gz", ".xlsx"),
    zone_is_utc=True,
    time_formats=("%m/%d/%Y %H:%M",),
)

# A click has no id: who, in which session, on what and when make it one, and the same four again are a copy of it.
GLOBO = Source(
    name="globo",
    tables=(
        Table(
            name="clicks",
            columns=(
                Column("user_id", "BIGINT", nullable=False, low=0),
                Column("session_id", "BIGINT", nullable=False, low=0),
                Column("session_start", "TIMESTAMP", nullable=False, epoch_milliseconds=True),
                Column("session_size", "INTEGER", nullable=False, low=1),
                Column("click_article_id", "BIGINT", nullable=False, low=0),
                Column("click_timestamp", "TIMESTAMP", nullable=False, epoch_milliseconds=True),
                Column("click_environment", "INTEGER", low=0),
                Column("click_device_group", "INTEGER", low=0),
                Column("click_os", "INTEGER", low=0),
                Column("click_country", "INTEGER", low=0),
                Column("click_region", "INTEGER", low=0),
                Column("click_referrer_type", "INTEGER", low=0),
            ),
            time_column="click_timestamp",
            unique=("user_id", "session_id", "click_article_id", "click_timestamp"),
            checks=(
                Check(
                    name="before its session",
                    column="click_timestamp",
                    broken="click_timestamp < session_start",
                    reason="click_timestamp is before session_start: a click before its own session",
                ),
            ),
        ),
    ),
    log_columns=LogColumns(user_id="user_id", item_id="click_article_id", amount="NULL"),
)

SOURCES: dict[str, Source] = {source.name: source for source in (LANDING, ONLINE_RETAIL, GLOBO)}


def source_named(name: str) -> Source:
    """The declared source of that name; raises TastemakerError naming the nearest."""
    if name not in SOURCES:
        known = ", ".join(SOURCES)
        raise TastemakerError(f"There is no source '{name}'.{nearest(name, SOURCES)} Known: {known}.")
    return SOURCES[name]
