"""What a run may vary: one strict, versioned file. Unknown keys are errors that name the nearest known key."""

from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tastemaker import names
from tastemaker.errors import TastemakerError, nearest


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EventsConfig(_Section):
    """Which events count, and how late they may come."""

    positive_types: tuple[str, ...] = Field(
        default=("view", "click", "cart", "purchase", "rating"),
        description="Event types that say a user wanted an item: they fill histories, counts and training labels.",
    )
    requests: Literal["session", "next_item"] = Field(
        default="session",
        description="What a request is where nobody logged what was shown: a whole session, or each positive event of "
        "it, asked after those before.",
    )
    lateness_days: int = Field(
        default=3, ge=0, description="A row that arrives up to this many days late still changes past feature rows."
    )


Grain = Literal["day", "hour"]


class FeaturesConfig(_Section):
    """How fine the features' time is, and sizes of the list-valued ones."""

    grain: Grain = Field(
        default="day", description="Feature rows are stamped with midnights, or with full hours; windows stay days."
    )
    history_length: int = Field(default=100, ge=1, description="Distinct items kept in a user's history.")
    neighbours: int = Field(default=20, ge=1, description="Items kept per item as bought or seen together.")
    neighbour_half_life_hours: float | None = Field(
        default=None,
        gt=0,
        description="Age at which a pair of a session counts half for 'neighbours', counted in the session's order at "
        "every tick; null: sessions with both, of 90 days, evenly.",
    )


class SplitConfig(_Section):
    """Consecutive windows that end at as_of, in days: … train | validation | ranker | calibration | test | as_of."""

    validation_days: int = Field(default=7, ge=1, description="Early stopping of the retriever.")
    ranker_days: int = Field(default=28, ge=1, description="Requests the ranker learns from.")
    calibration_days: int = Field(default=7, ge=1, description="Requests that calibrate the ranker's probability.")
    test_days: int = Field(default=28, ge=1, description="Requests every figure in the report comes from.")


EncoderName = Literal["mean", "cnn", "lstm", "attention"]
RetrieverLoss = Literal["sampled", "full"]
RankerObjective = Literal["binary", "lambdarank"]


class RetrieverConfig(_Section):
    """The two-tower model."""

    encoder: EncoderName = Field(default="mean", description="How the query tower reads a user's history.")
    embedding_dimension: int = Field(default=64, ge=2, description="Width of the query and candidate vectors.")
    graph_steps: int = Field(
        default=0,
        ge=0,
        description="Steps over the graph of who took what, in which an item's vector takes in its neighbours'.",
    )
    loss: RetrieverLoss = Field(
        default="sampled",
        description="The items that compete with a positive: the batch's other positives, corrected for how often each "
        "is drawn (sampled), or every item that has one (full: dearer, the larger the catalogue).",
    )
    temperature: float = Field(default=0.1, gt=0, description="What cosines are divided by in the softmax.")
    popularity: float = Field(
        default=0,
        ge=0,
        description="Scores get this times the temperature times an item's log(1 + pairs): for users who go on to more "
        "popular items than they came from. Learning knows nothing of it; one dimension of the vectors holds it.",
    )
    popularity_given: float = Field(
        default=0,
        ge=0,
        description="While learning, an item's logits have this times its log(1 + pairs) already, so that tastes need "
        "not say what everybody takes; what is served has 'popularity'.",
    )
    batch_size: int = Field(default=2048, ge=2, description="Examples per step.")
    max_epochs: int = Field(default=20, ge=1, description="Upper bound; validation recall stops earlier.")
    patience: int = Field(default=2, ge=1, description="Epochs without a better validation recall@20.")
    learning_rate: float = Field(default=0.003, gt=0, description="Adam's step size.")
    warm_start: bool = Field(
        default=False,
        description="Begin with the last run's towers and learn only what came since, for daily or hourly runs; what "
        "comes out then depends on the runs before.",
    )
    seed: int = Field(default=20111210, description="Of initial weights and shuffling.")


class RankerConfig(_Section):
    """The LightGBM click-through model."""

    objective: RankerObjective = Field(
        default="binary",
        description="What the trees learn: the odds that an item is taken (binary), or the order of a request's items "
        "(lambdarank); both are calibrated to probabilities.",
    )
    max_trees: int = Field(default=300, ge=1, description="Upper bound; later log-loss stops earlier.")
    leaves: int = Field(default=63, ge=2, description="Leaves per tree.")
    learning_rate: float = Field(default=0.05, gt=0, description="Shrinkage per tree.")
    feature_fraction: float = Field(default=0.7, gt=0, le=1, description="Share of the features a tree may ask.")
    min_rows_in_leaf: int = Field(default=50, ge=1, description="Rows, below which a leaf is not made.")
    patience: int = Field(default=15, ge=1, description="Trees without a lower log-loss.")
    seed: int = Field(default=20111210, description="Of bagging and feature sampling.")


class CandidatesConfig(_Section):
    """How many items each source proposes, 0 for none, and how many of them all the ranker judges."""

    two_tower: int = Field(default=150, ge=1, description="Nearest items of the query vector.")
    history: int = Field(default=100, ge=0, description="The user's own items, latest first; true stands for 100.")
    popular: int = Field(default=50, ge=0, description="What everybody takes.")
    co_visitation: int = Field(default=0, ge=0, description="Items taken together with those of the history.")
    user_knn: int = Field(default=0, ge=0, description="Items of the past sessions most like the user's history.")
    matrix_factorization: int = Field(default=0, ge=0, description="Items whose ALS factors fit the user's history.")
    content: int = Field(default=0, ge=0, description="Items with words, category and brand of the recent history.")
    next_item: int = Field(default=0, ge=0, description="Items taken next after the latest of the history.")
    ranked: int = Field(default=300, ge=1, description="Candidates that the ranker judges: the best of the blend.")
    popular_half_life_days: float | None = Field(
        default=None, gt=0, description="Age at which an interaction counts half for 'popular'; null: 30 days, evenly."
    )
    history_fading_days: float = Field(
        default=30.0, gt=0, description="Age at which an item of the history says 1/e as much of what is wanted now."
    )
    history_fading_place: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="What an item of the history says, against the next later one; 1 is as much.",
    )
    session_half_life_days: float = Field(
        default=30.0, gt=0, description="Age at which a past session says half as much to 'user_knn'."
    )
    next_item_half_life_days: float = Field(
        default=30.0, gt=0, description="Age at which an item taken after another counts half to 'next_item'."
    )
    factors: int = Field(default=64, ge=2, description="Width of the vectors of 'matrix_factorization'.")
    seed: int = Field(default=20111210, description="Of the factors' initial values and of the blend's search.")
    exact_up_to_items: int = Field(
        default=200_000, ge=1, description="Catalogues above this have an inverted-file index of their items."
    )
    index_recall: float = Field(
        default=0.99, gt=0, le=1, description="Share of the exact nearest items that the inverted file must find."
    )
    item_fresh_hours: int = Field(
        default=48, ge=1, description="How long a release's items count as fresh after their moment: refresh by then."
    )

    @field_validator("history", mode="before")
    @classmethod
    def _all_or_none(cls, value: Any) -> Any:
        """Was a yes or no, and still may be."""
        return (100 if value else 0) if isinstance(value, bool) else value

    def counts(self) -> dict[str, int]:
        """Items by source."""
        return {source: getattr(self, source) for source in names.CANDIDATE_SOURCES}


class EvaluationConfig(_Section):
    """The report's figures."""

    k: int = Field(default=20, ge=1, description="Length of the judged list.")
    bootstrap_samples: int = Field(default=1000, ge=100, description="Resamples of users for each interval.")
    confidence: float = Field(default=0.95, gt=0, lt=1, description="Coverage of each interval.")
    seed: int = Field(default=20111210, description="Of resampling and of random tie-breaks.")


class GatesConfig(_Section):
    """When Great Expectations stops a run: volume and distribution, against the weeks before."""

    max_quarantined_share: float = Field(default=0.05, ge=0, le=1, description="Quarantined rows of a landed file.")
    max_days_without_events: int = Field(default=14, ge=0, description="Age of the newest event at as_of.")
    volume_factor: float = Field(default=5, gt=1, description="Events of a day or week, against the usual number.")
    share_margin: float = Field(default=0.4, gt=0, le=1, description="Anonymous events, above their usual share.")
    max_unknown_item_share: float = Field(default=0.5, ge=0, le=1, description="Events about items never seen before.")
    amount_factor: float = Field(default=3, gt=1, description="How far amounts may leave their usual range.")
    max_unusual_amount_share: float = Field(default=0.02, ge=0, le=1, description="Events with an unusual amount.")
    feature_rows_factor: float = Field(default=2, gt=1, description="Rows of a feature day, against a week before.")
    feature_mean_factor: float = Field(default=3, gt=1, description="A feature's mean, against a week before.")
    feature_null_margin: float = Field(default=0.1, gt=0, le=1, description="A feature's nulls, above a week before.")


class ProbeConfig(_Section):
    """What a release may cost in a server of its own, before anybody is served by it."""

    p99_milliseconds: float = Field(default=500, gt=0, description="p99 of recorded requests, one at a time.")
    max_memory_mib: float = Field(default=4096, gt=0, description="Peak memory of a model server that has it alone.")


class CanaryConfig(_Section):
    """When a canary may become stable: recorded requests answered by both, side by side."""

    requests: int = Field(default=200, ge=1, description="Recorded requests that are replayed, at most.")
    rounds: int = Field(default=3, ge=1, description="How often each is replayed to both versions.")
    max_error_share: float = Field(default=0, ge=0, lt=1, description="Requests that fail and do not fail for stable.")
    max_p99_factor: float = Field(default=2, ge=1, description="The canary's p99 latency, against the stable one's.")
    p99_milliseconds: float = Field(default=250, gt=0, description="A p99 below this is never too long.")
    max_score_distance: float = Field(default=0.5, gt=0, le=1, description="Kolmogorov-Smirnov, of both's scores.")
    min_list_overlap: float = Field(
        default=0.1, ge=0, le=1, description="Share of stable's items in the canary's list."
    )


class ReleasesConfig(_Section):
    """What is kept of the releases."""

    keep: int = Field(default=5, ge=1, description="Newest versions, and as many to roll back to, that no prune takes.")


class ReleaseGateConfig(_Section):
    """When a release is not published: what it must keep of the champion, and be by itself."""

    min_users: int = Field(
        default=20,
        ge=1,
        description="Users a comparison needs; on fewer a slice is not judged, a release not let through.",
    )
    baselines: tuple[Literal["popularity", "co-visitation", "ALS", "buy it again"], ...] = Field(
        default=("popularity", "co-visitation", "ALS", "buy it again"),
        description="Baselines that a release must not be worse than; a first one only that it beats popularity.",
    )
    slice_margin: float = Field(
        default=0.1, ge=0, lt=1, description="Share of the champion's NDCG that a slice may lose, beyond chance."
    )
    max_calibration_error: float = Field(
        default=0.25, gt=0, description="Gap between predicted and observed rates, as a share of the mean rate."
    )
    min_coverage: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Share of the catalogue, as far as the lists could hold it, to be recommended.",
    )
    kept_coverage: float = Field(
        default=0.5, ge=0, le=1, description="Share of the champion's coverage that is to be left."
    )


class Config(_Section):
    """The whole config file."""

    version: Literal[1] = Field(description="Version of this file's layout.")
    events: EventsConfig = EventsConfig()
    features: FeaturesConfig = FeaturesConfig()
    split: SplitConfig = SplitConfig()
    retriever: RetrieverConfig = RetrieverConfig()
    ranker: RankerConfig = RankerConfig()
    candidates: CandidatesConfig = CandidatesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gates: GatesConfig = GatesConfig()
    release_gate: ReleaseGateConfig = ReleaseGateConfig()
    probe: ProbeConfig = ProbeConfig()
    canary: CanaryConfig = CanaryConfig()
    releases: ReleasesConfig = ReleasesConfig()

    def until_judged(self) -> dict[str, Any]:
        """What a release is made of and measured by, as plain values: not what decides afterwards whether it serves.

        So that another bound for a gate needs no other release.
        """
        return self.model_dump(exclude={"gates", "release_gate", "probe", "canary", "releases"})


def load_config(path: Path) -> Config:
    """Reads and checks a config file.

    Raises TastemakerError with one sentence a problem: a missing file, no YAML, an unknown key, a wrong value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise TastemakerError(f"There is no config file at {path}; name one with TASTEMAKER_CONFIG.") from None
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as problem:
        raise TastemakerError(f"{path} is not YAML: {problem}") from None
    if not isinstance(raw, dict):
        raise TastemakerError(f"{path} must hold keys and values, the first of them 'version: 1'.")
    try:
        return Config.model_validate(raw)
    except ValidationError as problem:
        raise TastemakerError("\n".join(_sentence(path, error) for error in problem.errors())) from None


def _sentence(path: Path, error: object) -> str:
    assert isinstance(error, dict)
    location = [str(part) for part in error["loc"]]
    where = ".".join(location)
    if error["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        return f"{path}: unknown key '{where}'.{nearest(location[-1], known)} Known here: {', '.join(known)}."
    return f"{path}: {where} = {error['input']!r}: {error['msg']}."


def _keys_at(location: list[str]) -> list[str]:
    model: type[BaseModel] = Config
    for part in location:
        annotation = model.model_fields[part].annotation
        candidates = [annotation, *get_args(annotation)]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)
