"""What of a configuration is never printed, not even in the source line of an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

# loose on purpose: a misspelled key is an error, and its line is shown
_SECRET_KEY = re.compile(
    r"(?i)(env\w*|(.*[_-])?(api)?keys?|.*(sec\w{0,3}t|[sc]r?ecr?e?t|hook|pas{1,2}w|pwd|token|passphrase|credential).*)"
)
_HARMLESS_KEY = re.compile(r"(?i).*_file")

_SECRET_TEXT = re.compile(
    r"(?i)whsec_[^\s\"',}\]]+|scrypt\$[^\s\"',}\]]+|(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])|(?<=://)[^/\s\"']+(?=@)"
)
_KEY_IN_LINE = re.compile(r"""(?:^|[\s{,\[])["']?([A-Za-z_][\w.-]*)["']?[ \t]*:(?=\s|$)""")
_LOOKED_AT = 1024
_FIRST_VALUE = re.compile(r"^\s*(?:[^\s:#][^:]*:\s)?\s*")
_ITEM = re.compile(r"^\s*-\s*")


def is_secret_key(name: str | int) -> bool:
    """Whether what stands under a key of this name may be a secret; misspelled names count too."""
    return isinstance(name, str) and bool(_SECRET_KEY.fullmatch(name)) and not _HARMLESS_KEY.fullmatch(name)


def is_secret(path: Sequence[str | int]) -> bool:
    """Whether the value at ``path`` may be a secret."""
    return any(is_secret_key(part) for part in path)


def secret_spans_in(text: str) -> Iterator[tuple[int, int]]:
    """Stretches that look like a secret wherever they stand: webhook secrets, hashes, the credentials of a URL."""
    for match in _SECRET_TEXT.finditer(text):
        yield match.span()


def secret_tail(lines: Sequence[str], index: int) -> int | None:
    """Where the secret part of a line begins, guessed from keys and indentation alone.

    For texts that are no YAML, whose structure nobody knows; it rather hides too much. Bounded: looks at the lines
    before only so far, and hides the whole of a very long one.
    """
    if index >= len(lines):
        return None
    line = lines[index]
    if len(line) > _LOOKED_AT:
        return 0
    for match in _KEY_IN_LINE.finditer(line):
        if is_secret_key(match[1]):
            return match.end() + _indent(line[match.end() :])
    indent = _indent(line)
    for above in range(index - 1, max(index - 1000, -1), -1):
        text = lines[above][:_LOOKED_AT]
        if not text.strip() or _indent(text) > indent:
            continue
        keys = [match[1] for match in _KEY_IN_LINE.finditer(text)]
        if keys and (_indent(text) < indent or _is_item(line)) and is_secret_key(keys[-1]):
            value = (_ITEM if _is_item(line) else _FIRST_VALUE).match(line)
            return value.end() if value else 0
        indent = min(indent, _indent(text))
        if indent == 0 and not _is_item(text):
            break
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _is_item(line: str) -> bool:
    return line.lstrip().startswith("-")
