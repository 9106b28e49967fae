"""Who may ask: bearer tokens, read from a file that may change while the server runs.

One token a line, and after a space the moment from which it counts no more, in ISO 8601 with a zone; empty lines and
lines that begin with `#` say nothing. Two tokens side by side let callers change over one by one.
"""

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tastemaker.errors import TastemakerError

log = logging.getLogger("tastemaker.serving")

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Token:
    """A token's SHA-256, and when it ends; None is never."""

    digest: bytes
    expires: datetime | None = None

    @classmethod
    def of(cls, text: str, expires: datetime | None = None) -> "Token":
        """The token that `text` is."""
        return cls(_digest(text), expires)


class BearerTokens:
    """The tokens that count. A file that becomes unreadable leaves the tokens as they were; their ends still hold."""

    def __init__(
        self, tokens: Iterable[Token] = (), file: Path | None = None, now: Callable[[], datetime] | None = None
    ) -> None:
        """Args: `tokens` count besides those of `file`. Raises TastemakerError for a file that is no list of tokens."""
        self._given = list(tokens)
        self._file = file
        self._now = now or (lambda: datetime.now(UTC))
        self._lock = threading.Lock()
        self._next_look = time.monotonic() + _LOOK_SECONDS
        self._seen = _state(file)
        self._tokens = [*self._given, *(read_tokens(file) if file else [])]

    @property
    def asked_for(self) -> bool:
        """Whether a caller needs a token."""
        return bool(self._tokens) or self._file is not None

    def refusal(self, authorization: str | None) -> str | None:
        """Why a caller is refused, None for one who may pass.

        Every token is compared, each in constant time, so that the time taken tells nothing of them.

        Args: `authorization`: the header or metadata of that name, `Bearer <token>`.
        """
        if not self.asked_for:
            return None
        scheme, _, text = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not text.strip():
            return "A bearer token is required: send 'authorization: Bearer <token>'"
        digest = _digest(text.strip())
        found = [token for token in self._current() if hmac.compare_digest(token.digest, digest)]
        if not found:
            return "The bearer token is not one of this server's"
        now = self._now()
        if all(token.expires is not None and now >= token.expires for token in found):
            return "The bearer token has expired"
        return None

    def _current(self) -> Sequence[Token]:
        if self._file is None or time.monotonic() < self._next_look:
            return self._tokens
        with self._lock:
            self._next_look = time.monotonic() + _LOOK_SECONDS
            seen = _state(self._file)
            if seen != self._seen:
                self._seen = seen
                try:
                    self._tokens = [*self._given, *read_tokens(self._file)]
                    log.info("Read bearer tokens again: %d", len(self._tokens))
                except TastemakerError as problem:
                    log.error("The bearer tokens stay as they were: %s", problem)
        return self._tokens


def read_tokens(file: Path) -> list[Token]:
    """The tokens of a file. Raises TastemakerError where it cannot be read, says no time, or holds no token."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise TastemakerError(f"The bearer tokens' file {file} cannot be read: {problem}.") from problem
    tokens = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words and not words[0].startswith("#"):
            tokens.append(Token.of(words[0], _moment(file, number, " ".join(words[1:])) if words[1:] else None))
    if not tokens:
        raise TastemakerError(f"{file} holds no bearer token; write one a line, or leave the flag out.")
    return tokens


def _moment(file: Path, number: int, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise TastemakerError(
            f"{file}, line {number}: after the token stands '{text}', which is no moment with a zone; "
            "write it as 2027-01-31T00:00:00Z."
        )
    return moment


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _state(file: Path | None) -> tuple[int, int, int] | None:
    try:
        about = file.stat() if file else None
    except OSError:
        return None
    return (about.st_mtime_ns, about.st_size, about.st_ino) if about else None
