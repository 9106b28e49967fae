"""Paths, addresses and secrets: what differs from machine to machine. One place, prefix `TASTEMAKER_`."""

from datetime import datetime
from functools import cached_property
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from tastemaker.home import Home

PROJECT_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Read from the environment (`TASTEMAKER_HOME=… TASTEMAKER_CONFIG=…`)."""

    model_config = SettingsConfigDict(env_prefix="TASTEMAKER_", frozen=True)

    home: Path = Field(default=PROJECT_ROOT / "var", description="Folder for everything a run makes.")
    config: Path = Field(default=PROJECT_ROOT / "tastemaker.yaml", description="The run's config file.")
    source: str = Field(default="online_retail", description="Which source's tables the shop's come from.")
    path: str | None = Field(default=None, description="Where the source's files are (a folder, file or URL).")
    online_retail: str | None = Field(default=None, description="The Online Retail file, a path or URL.")
    globo: str | None = Field(default=None, description="The Globo clicks, a path or URL; research terms.")
    redis_url: str | None = Field(default=None, description="host:port of the online store beyond one machine.")
    model_server: str = Field(default="127.0.0.1:8500", description="gRPC host:port of the model server.")
    model_server_rest_port: int = Field(default=8501, description="REST port of the embedded model server.")
    model_server_token: SecretStr | None = Field(default=None, description="Bearer token the model server asks for.")
    model_server_ca: Path | None = Field(default=None, description="PEM authority of its certificate; turns TLS on.")
    model_server_client_cert: Path | None = Field(default=None, description="PEM certificate to show to it.")
    model_server_client_key: Path | None = Field(default=None, description="PEM key that goes with it.")
    feature_server: str = Field(default="127.0.0.1:6566", description="host:port of Feast's feature server.")
    feature_server_token: SecretStr | None = Field(default=None, description="Token the feature server asks for.")
    feature_server_tls_key: Path | None = Field(default=None, description="PEM key; with it the server speaks HTTPS.")
    feature_server_tls_cert: Path | None = Field(default=None, description="PEM certificate that goes with the key.")
    release_signing_key: Path | None = Field(
        default=None, description="PEM file of the Ed25519 key that signs releases; without it the home makes its own."
    )
    release_public_key: Path | None = Field(
        default=None, description="PEM file of the keys whose releases are served; by default the signing key's half."
    )
    allow_unsigned_releases: bool = Field(default=False, description="Serve releases that nobody has signed, too.")
    schedule_until: datetime | None = Field(
        default=None, description="Where the daily schedule ends; for a shop whose data has ended."
    )
    lock_wait_seconds: float = Field(
        default=0, ge=0, description="How long a step waits for another run that writes to the same home."
    )
    airflow_port: int = Field(default=8080, description="Port of Airflow's web page.")

    @cached_property
    def paths(self) -> Home:
        """The layout below `home`, absolute so that it means the same in every process."""
        return Home(self.home.expanduser().resolve())

    @property
    def named_files(self) -> dict[str, str | None]:
        """Source → the files named for it here, for the sources that have a setting of their own."""
        return {"online_retail": self.online_retail, "globo": self.globo}

    def environment(self) -> dict[str, str]:
        """These settings as the variables of a process that is to share them; what is not set is left out."""
        told: dict[str, str] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, SecretStr):
                value = value.get_secret_value()
            elif isinstance(value, datetime):
                value = value.isoformat()
            elif isinstance(value, Path):
                value = value.expanduser().resolve()
            if value is not None:
                told[f"TASTEMAKER_{name.upper()}"] = str(value)
        return told
