"""Every name of the landing contract and of the core marts, once.

Features are not here: a feature table's dbt YAML is its declaration (`tastemaker.feature_tables` reads it).
"""

from typing import Final

# keys and times, the same in every table
USER_ID: Final = "user_id"
ITEM_ID: Final = "item_id"
EVENT_TIMESTAMP: Final = "event_timestamp"
CREATED_TIMESTAMP: Final = "created_timestamp"

# the landing contract
EVENTS: Final = "events"
ITEMS: Final = "items"
USERS: Final = "users"
EVENT_ID: Final = "event_id"
EVENT_TYPE: Final = "event_type"
VALUE: Final = "value"
SESSION_ID: Final = "session_id"
REQUEST_ID: Final = "request_id"
POSITION: Final = "position"
PROPENSITY: Final = "propensity"
RELEASE: Final = "release"
CONTEXT: Final = "context"

EVENT_TYPES: Final = ("impression", "view", "click", "cart", "purchase", "rating", "refund")

# core marts
FCT_INTERACTIONS: Final = "fct_interactions"
FCT_REQUESTS: Final = "fct_requests"
DIM_ITEMS: Final = "dim_items"
DIM_USERS: Final = "dim_users"

# fct_requests: one row per request
REQUEST_TIMESTAMP: Final = "request_timestamp"
REQUEST_ORIGIN: Final = "request_origin"
ORIGIN_IMPRESSIONS: Final = "impressions"
ORIGIN_SESSION: Final = "session"
ORIGIN_NEXT_ITEM: Final = "next_item"
REQUEST_ORIGINS: Final = (ORIGIN_IMPRESSIONS, ORIGIN_SESSION, ORIGIN_NEXT_ITEM)
SHOWN_ITEM_IDS: Final = "shown_item_ids"
SHOWN_POSITIONS: Final = "shown_positions"
SHOWN_PROPENSITIES: Final = "shown_propensities"
POSITIVE_ITEM_IDS: Final = "positive_item_ids"
POSITIVE_FIRST_TIMESTAMPS: Final = "positive_first_timestamps"  # of the training set: each one's first event ever
SESSION_ITEM_IDS: Final = "session_item_ids"
SESSION_TIMESTAMPS: Final = "session_timestamps"
SESSION_EVENT_TYPES: Final = "session_event_types"

# feature services, the public interface of the features
RECOMMEND_V1: Final = "recommend_v1"
RANK_V1: Final = "rank_v1"
PROFILE_V1: Final = "profile_v1"
ITEM_V1: Final = "item_v1"

# the served model
MODEL_NAME: Final = "recommender"
SIGNATURE_RECOMMEND: Final = "recommend"
SIGNATURE_RETRIEVE: Final = "retrieve"
SIGNATURE_RANK: Final = "rank"
SIGNATURE_SIMILAR_ITEMS: Final = "similar_items"
# recorded in a release, in TF-Serving's own format for warm-up: requests, and the answers that belong to them
GOLDEN_REQUESTS: Final = "assets.extra/golden_requests"
# requests that a server answers before anyone asks; the place is TF-Serving's
WARMUP_REQUESTS: Final = "assets.extra/tf_serving_warmup_requests"
INPUT_EXCLUDE_ITEM_IDS: Final = "exclude_item_ids"
INPUT_K: Final = "k"
INPUT_ITEM_IDS: Final = "item_ids"
OUTPUT_ITEM_IDS: Final = "item_ids"
OUTPUT_SCORES: Final = "scores"
OUTPUT_KNOWN: Final = "known"
OUTPUT_RELEASE: Final = "release"
OUTPUT_ITEMS_FRESH_UNTIL: Final = "items_fresh_until"
OUTPUT_SOURCES: Final = "sources"

# where candidates come from: keys of the config section `candidates`, of the blend's weights, of `sources` in an answer
SOURCE_TWO_TOWER: Final = "two_tower"
SOURCE_HISTORY: Final = "history"
SOURCE_POPULAR: Final = "popular"
SOURCE_CO_VISITATION: Final = "co_visitation"
SOURCE_USER_KNN: Final = "user_knn"
SOURCE_MATRIX_FACTORIZATION: Final = "matrix_factorization"
SOURCE_CONTENT: Final = "content"
SOURCE_NEXT_ITEM: Final = "next_item"
CANDIDATE_SOURCES: Final = (
    SOURCE_TWO_TOWER,
    SOURCE_HISTORY,
    SOURCE_POPULAR,
    SOURCE_CO_VISITATION,
    SOURCE_USER_KNN,
    SOURCE_MATRIX_FACTORIZATION,
    SOURCE_CONTENT,
    SOURCE_NEXT_ITEM,
)

# the steps of the main job, in order; a step's report and its task have the same name
STEPS: Final = (
    "ingest",
    "check_landing",
    "transform",
    "check_features",
    "materialize",
    "dataset",
    "train_retriever",
    "train_sources",
    "train_ranker",
    "release_build",
    "evaluate",
    "gate",
    "probe",
    "canary",
    "verify",
    "promote",
    "report",
)
