from datetime import UTC, datetime

import pytest

from serving.server import bearer_tokens
from serving.server.bearer_tokens import BearerTokens, Token
from tastemaker.errors import TastemakerError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_who_passes_and_who_does_not(tmp_path):
    file = tmp_path / "tokens"
    file.write_text("# callers\nforever\n\nuntil-noon 2026-11-22T12:00:00Z\nlater 2026-11-22T14:00:00+01:00\n")
    now = [NOON]
    tokens = BearerTokens(file=file, now=lambda: now[0])
    assert tokens.refusal("Bearer forever") is None
    assert tokens.refusal("bearer forever") is None
    assert tokens.refusal("Bearer until-noon") == "The bearer token has expired"
    assert tokens.refusal("Bearer later") is None
    assert tokens.refusal("Bearer Forever") == "The bearer token is not one of this server's"
    for nothing in (None, "", "Bearer", "Bearer ", "Basic forever", "forever"):
        assert "is required" in str(tokens.refusal(nothing))
    now[0] = NOON.replace(hour=13)
    assert tokens.refusal("Bearer later") == "The bearer token has expired"


def test_without_a_token_everybody_passes():
    assert BearerTokens().refusal(None) is None
    assert BearerTokens([Token.of("x")]).refusal(None) is not None


def test_a_changed_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bearer_tokens, "_LOOK_SECONDS", 0.0)
    file = tmp_path / "tokens"
    file.write_text("old\n")
    tokens = BearerTokens(file=file)
    file.write_text("old\nnewer\n")
    assert tokens.refusal("Bearer newer") is None
    file.write_text("newer tomorrow, perhaps\n")
    assert tokens.refusal("Bearer old") is None
    file.unlink()
    assert tokens.refusal("Bearer newer") is None
    assert tokens.refusal("Bearer other") is not None


@pytest.mark.parametrize("content", ["token 2026-11-22T12:00:00", "token soon", "token 2026-11-22T12:00:00Z x", "# no"])
def test_a_file_that_is_no_list_of_tokens_is_named(tmp_path, content):
    file = tmp_path / "tokens"
    file.write_text(content)
    with pytest.raises(TastemakerError, match=str(file)):
        BearerTokens(file=file)
