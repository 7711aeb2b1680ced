"""Whatever a file holds, there are settings or a SettingsError, soon. NGPU_FUZZ_EXAMPLES says how many files (100)."""

import json
import os
import time
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ngpu.settings import SettingsError, loads
from ngpu.settings.shape import keys_at

EXAMPLE = (Path(__file__).parents[2] / "config" / "ngpu.yaml").read_text()
NAMES = sorted(
    {
        *keys_at(()),
        *keys_at(("store",)), *keys_at(("admin",)), *keys_at(("limits",)), *keys_at(("nodes", 0)),
        *keys_at(("nodes", 0, "gpus")), *keys_at(("workspaces", 0)), *keys_at(("workspaces", 0, "upstream", 0)),
        *keys_at(("gates", "x")), *keys_at(("apps", "x", "<route>")),
    }
)  # fmt: skip
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.sampled_from(["10s", "5m", "64MiB", "redis", "sqlite", "tcp:80", "unix:/x", "ssl:1", "systemd:x",
                     "haproxy:tcp:1", "whsec_AA==", "least_loaded", "UTC", "aa", "0xAA", "10.0.0.0/8",
                     "ab" * 32, "[key]", "<query>"]),
)  # fmt: skip
KEYS = st.one_of(
    st.sampled_from(NAMES), st.text(max_size=8), st.sampled_from(["[key]", "<<", "<route>", "80", "query"])
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEYS, inner, max_size=6)),
    max_leaves=40,
)
INDICATORS = st.text(alphabet="&*!|>%@`\"'#-?:,[]{}<~=. \n\t\r\x85\u2028\ufeff\x00abé键0178xe_", max_size=200)
EXAMPLES = int(os.environ.get("NGPU_FUZZ_EXAMPLES", "100"))
FUZZ = settings(deadline=None, max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))


def survives(text: str) -> None:
    began = time.process_time()
    try:
        loaded = loads(text, "f", Path("/etc/ngpu"))
    except SettingsError as error:
        report = str(error)
        assert report.startswith("f:")
        assert error.problems
        assert all(line.startswith(("f:", "    ")) for line in report.split("\n"))
        report.encode("utf-8")
    else:
        repr(loaded)
        loaded.located(("workspaces", 0, "x"), "is wrong")
    assert time.process_time() - began < 10


@FUZZ
@given(st.text(max_size=300))
def test_any_text(text: str) -> None:
    survives(text)


@FUZZ
@given(INDICATORS)
def test_any_heap_of_yaml_indicators(text: str) -> None:
    survives(text)


@FUZZ
@given(st.dictionaries(st.sampled_from(keys_at(())), TREES, max_size=6))
def test_any_tree_under_known_keys(tree: dict[str, Any]) -> None:
    """JSON is YAML, and has every shape."""
    survives(json.dumps(tree, ensure_ascii=False))
    survives(json.dumps(tree, indent=1))


@FUZZ
@given(st.lists(st.dictionaries(st.sampled_from(keys_at(("workspaces", 0))), TREES, max_size=8), max_size=3), TREES)
def test_any_tree_in_workspaces(workspaces: list[dict[str, Any]], nodes: Any) -> None:
    survives(json.dumps({"workspaces": workspaces, "nodes": nodes, "gates": {"a": {}}, "apps": {"b": nodes}}))


@FUZZ
@given(st.integers(0, len(EXAMPLE)), st.integers(0, 40), INDICATORS)
def test_an_edited_example(start: int, length: int, inserted: str) -> None:
    text = EXAMPLE.replace("\n# ", "\n  ").replace("[]", "")
    survives(text[:start] + inserted + text[start + length :])
    survives(EXAMPLE[:start] + inserted + EXAMPLE[start + length :])
