"""What a study asks: which keys of the config, and what is to be as large as it can be."""

from dataclasses import dataclass

from tastemaker.config import RankerConfig, RetrieverConfig


@dataclass(frozen=True)
class Question:
    """One study's question.

    Attributes:
        section: of the config, which is searched.
        settings: that section as it is: the first trial.
        keys: of it, that vary.
        steps: what a trial's length is counted in.
        measure: what is to be as large as it can be, as people call it.
        read: a sentence on what a trial learns from and is judged on.
    """

    section: str
    settings: RetrieverConfig | RankerConfig
    keys: tuple[str, ...]
    steps: str
    measure: str
    read: str
