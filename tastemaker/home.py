"""Where everything that a run makes lies: one folder, `TASTEMAKER_HOME`."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tastemaker.moments import as_of_slug


@dataclass(frozen=True)
class Home:
    """The layout of one shop's working folder. Paths only: nothing is created here."""

    root: Path

    @property
    def landing(self) -> Path:
        """Passed rows: `<table>/<file digest>.parquet`, the ledger, and `quarantine/`."""
        return self.root / "landing"

    @property
    def warehouse(self) -> Path:
        """The DuckDB database that dbt writes; everyone else opens it read-only."""
        return self.root / "warehouse.duckdb"

    @property
    def offline_store(self) -> Path:
        """Feature tables that passed their gate: `<feature table>.parquet`."""
        return self.root / "offline_store"

    @property
    def feast(self) -> Path:
        """Feast's registry and, embedded, its SQLite online store."""
        return self.root / "feast"

    @property
    def data_docs(self) -> Path:
        """Great Expectations' pages."""
        return self.root / "data_docs"

    @property
    def models(self) -> Path:
        """Published releases, `recommender/<version>/`, and what was done with them."""
        return self.root / "models"

    @property
    def model_config(self) -> Path:
        """Which versions are served and what their labels are: the file that the model server polls."""
        return self.models / "model_config.txtpb"

    @property
    def journal(self) -> Path:
        """Every act on the releases, one JSON object a line."""
        return self.models / "journal.jsonl"

    @property
    def quarantined_releases(self) -> Path:
        """Releases that must not be served: `<version>/`, and `<version>.json` that says why."""
        return self.models / "quarantine"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.root / "airflow"

    @property
    def shop(self) -> Path:
        """Whose data the home is for: the settings that every step under Airflow is given."""
        return self.root / "shop.json"

    @property
    def feature_server_token(self) -> Path:
        """The token that `tastemaker up` has the feature server ask for, where no setting gives one."""
        return self.root / "feature_server.token"

    @property
    def release_key(self) -> Path:
        """The key that signs releases, where no setting names one; its owner alone may read it."""
        return self.root / "release_key.pem"

    @property
    def release_public_key(self) -> Path:
        """The other half of the key that signs releases: what the model server of this home trusts."""
        return self.root / "release_key.pub"

    @property
    def cache(self) -> Path:
        """Downloads that can be made again."""
        return self.root / "cache"

    def run(self, as_of: datetime) -> Path:
        """Step reports of one `as_of`: `<step>.json`."""
        return self.root / "runs" / as_of_slug(as_of)

    def training(self, as_of: datetime) -> Path:
        """Training sets and models of one `as_of`: `datasets/`, `retriever/`, `ranker/`, `tensorboard/`."""
        return self.root / "training" / as_of_slug(as_of)

    @property
    def tuning(self) -> Path:
        """Studies of the retriever's settings, a folder each."""
        return self.root / "tuning"

    def candidate(self, as_of: datetime) -> Path:
        """The built but unpublished release of one `as_of`."""
        return self.root / "candidates" / as_of_slug(as_of)

    def verdict(self, as_of: datetime) -> Path:
        """Whether the release built for one `as_of` may be published, and why not: the gate's word."""
        return self.root / "candidates" / f"{as_of_slug(as_of)}.verdict.json"

    def report(self, as_of: datetime) -> Path:
        """The HTML report of one `as_of`."""
        return self.root / "reports" / f"{as_of_slug(as_of)}.html"
