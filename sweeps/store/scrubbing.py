"""Remove secrets from texts before they reach rows or logs."""

from __future__ import annotations

import os
import re
from functools import lru_cache

REMOVED = "***"
_SHORTEST = 8
"""Shorter values of environment variables are not removed, because they are often common words."""
_LONG = 16
"""Shorter values are removed only where they are not a part of a longer word or number."""
_FOLDERS = ("PWD", "OLDPWD")
"""Variables with a folder, whose names look like the name of a password."""

# The name of a secret, as part of an identifier: AWS_SECRET_ACCESS_KEY, api-key, authToken.  A bare `key` does not
# match, because `sorted(rows, key=len)` is a common line of a traceback.  Every repetition before the end of a pattern
# is bounded, so that the time is linear in the length of the text.
_NAME = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|authorization|api[_-]?key|"
    r"(?:access|account|private|shared|signing|encryption|storage)[_-]?key)[\w-]{0,40}"
)
_NAMED = re.compile(_NAME, re.I)
# A listing of the environment holds PWD=/home/me.
_NO_FOLDER = r"""(?!(?-i:(?<![\w-])PWD|(?<=OLD)PWD)=["']?/)"""
_GIVEN = r"""["']?\s{0,4}[=:]\s{0,4}"""
_VALUE = r"""(?:"[^"\n]{0,4000}"|'[^'\n]{0,4000}'|[^\s,;&'"}\])]+)"""
_SCHEME = r"\b[a-z][a-z0-9+.-]{0,20}://"

_PATTERNS = (
    (
        re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S),
        REMOVED,
    ),
    # user:password@ and ?query of a URI; pyarrow accepts the keys of an object store in both.
    (re.compile(rf"""({_SCHEME})[^\s/@'"]{{0,1000}}@""", re.I), rf"\1{REMOVED}@"),
    (re.compile(rf"""({_SCHEME}[^\s?'"]{{0,1000}}\?)[^\s'"]*""", re.I), rf"\1{REMOVED}"),
    (re.compile(r"\b(bearer|basic)\s{1,4}[\w.~+/=-]{8,}", re.I), rf"\1 {REMOVED}"),
    # name=value, name: value, "name": "value" and --name value.
    (re.compile(rf"({_NO_FOLDER}{_NAME}{_GIVEN}){_VALUE}", re.I), rf"\1{REMOVED}"),
    (re.compile(rf"(--[\w-]{{0,40}}?(?:{_NAME}|\bkey)[\s=]{{1,4}}){_VALUE}", re.I), rf"\1{REMOVED}"),
    # Keys with a known form: AWS, GitHub, GitLab, Hugging Face, Google, Slack, OpenAI, JSON web tokens.
    (re.compile(r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"), REMOVED),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|glpat-|hf_|AIza|xox[abprs]-|sk-)[\w-]{16,}"), REMOVED),
    (re.compile(r"\beyJ[\w-]{8,4000}\.[\w-]{8,4000}\.[\w-]*"), REMOVED),
)


def scrub(text: str) -> str:
    """Return the text with *** in the place of everything that looks like a secret.

    This replaces the user and the query of URIs; values of options, variables and JSON fields with the name of a secret
    (password, token, secret, credential, access key, ...); keys of a known form; and the values of environment
    variables of this process with such names, unless the value is an existing path.  A secret of an unknown form under
    a harmless name stays.
    """
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and name not in _FOLDERS and _NAMED.search(name) and not _is_path(value):
            text = text.replace(value, REMOVED) if len(value) >= _LONG else _alone(value).sub(REMOVED, text)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def _is_path(value: str) -> bool:
    """Return whether a value is a path of this machine, such as the file of GOOGLE_APPLICATION_CREDENTIALS."""
    return value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))


@lru_cache
def _alone(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![A-Za-z0-9]){re.escape(value)}(?![A-Za-z0-9])")
