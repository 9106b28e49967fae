"""What the sources know that only training can tell, as files: factors, sessions, transitions, the blend's weights."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tastemaker.errors import TastemakerError
from tastemaker.home import Home
from training.sources.blend import Blend
from training.sources.matrix_factorization import FILE as FACTORS
from training.sources.matrix_factorization import ItemFactors
from training.sources.next_item import FILE as TRANSITIONS
from training.sources.next_item import Transitions
from training.sources.user_knn import FILE as SESSIONS
from training.sources.user_knn import Sessions


def sources_folder(home: Home, as_of: datetime) -> Path:
    """What is served: it has seen the requests before the test window."""
    return home.training(as_of) / "sources"


def for_ranker_folder(home: Home, as_of: datetime) -> Path:
    """What makes the ranker's candidates: it has seen only the requests before the ranker's window."""
    return sources_folder(home, as_of) / "for_ranker"


@dataclass(frozen=True)
class TrainedSources:
    """None stands for a source that is off."""

    blend: Blend = field(default_factory=Blend)
    factors: ItemFactors | None = None
    sessions: Sessions | None = None
    transitions: Transitions | None = None

    def save(self, folder: Path) -> None:
        """Writes each part that is there into a new folder."""
        folder.mkdir(parents=True)
        self.blend.save(folder)
        for part in (self.factors, self.sessions, self.transitions):
            if part is not None:
                part.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "TrainedSources":
        """What `save` wrote. Raises TastemakerError when it is not there."""
        if not folder.exists():
            raise TastemakerError(
                f"There are no trained candidate sources at {folder}; run 'tastemaker train sources'."
            )
        factors = ItemFactors.load(folder) if (folder / FACTORS).exists() else None
        sessions = Sessions.load(folder) if (folder / SESSIONS).exists() else None
        transitions = Transitions.load(folder) if (folder / TRANSITIONS).exists() else None
        return cls(Blend.load(folder), factors, sessions, transitions)
