"""How much of an image has come, out of what engines have said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngpu.engines.progress import Layers, Loaded
from ngpu.engines.reading import BadAnswer

STATUSES = (
    "Pulling from x",
    "Pulling fs layer",
    "Waiting",
    "Downloading",
    "Verifying Checksum",
    "Download complete",
    "Extracting",
    "Pull complete",
    "Already exists",
    "Retrying in 5 seconds",
)


def said(layer: str, status: str, current: int | None = None, total: int | None = None) -> dict[str, Any]:
    detail = {} if current is None else {"current": current, "total": total}
    return {"id": layer, "status": status, "progressDetail": detail}


def test_a_pull_by_its_bytes() -> None:
    layers = Layers()
    steps = [
        ({"status": "Pulling from library/x", "id": "1"}, 0.0),
        (said("a", "Pulling fs layer"), 0.0),
        (said("b", "Pulling fs layer"), 0.0),
        (said("c", "Already exists"), 0.0),
        (said("a", "Downloading", 0, 300), 0.0),
        (said("b", "Downloading", 50, 100), 0.7 * 50 / 400),
        (said("a", "Downloading", 300, 300), 0.7 * 350 / 400),
        (said("a", "Download complete"), 0.7 * 350 / 400),
        (said("b", "Verifying Checksum"), 0.7),
        (said("a", "Extracting", 150, 300), 0.7 + 0.3 * 150 / 400),
        (said("a", "Pull complete"), 0.7 + 0.3 * 300 / 400),
        (said("b", "Extracting", 1, None), 0.7 + 0.3 * 300 / 400),
        (said("b", "Pull complete"), 0.99),
        ({"status": "Digest: sha256:0"}, 0.99),
    ]
    for message, share in steps:
        assert layers.heard(message) == pytest.approx(share), message


@given(
    st.lists(
        st.builds(
            said,
            st.sampled_from("abcd"),
            st.sampled_from(STATUSES),
            st.none() | st.integers(-5, 2**70),
            st.none() | st.integers(-5, 2**70),
        )
    )
)
def test_whatever_is_said_it_never_goes_back_nor_reaches_the_end(messages: list[dict[str, Any]]) -> None:
    layers, loaded = Layers(), Loaded(1000)
    shares = [layers.heard(message) for message in messages]
    loads = [loaded.heard(message) for message in messages]
    for each in (shares, loads):
        assert each == sorted(each)
        assert all(0.0 <= share <= 0.99 for share in each)


@pytest.mark.parametrize("detail", [[], "x", 7])
def test_a_detail_that_is_none(detail: Any) -> None:
    if detail:
        with pytest.raises(BadAnswer):
            Layers().heard({"id": "a", "status": "Downloading", "progressDetail": detail})
    assert Layers().heard({"id": 7, "status": ["x"], "progressDetail": None}) == 0.0


def test_no_end_of_layers() -> None:
    layers = Layers()
    with pytest.raises(BadAnswer, match="more layers"):
        for number in range(1000):
            layers.heard(said(str(number), "Pulling fs layer"))


def test_a_load_by_its_bytes() -> None:
    loaded = Loaded(1000)
    assert loaded.handed(500) == pytest.approx(0.35)
    assert loaded.handed(1000, ended=True) == pytest.approx(0.7)
    assert loaded.heard(said("a", "Loading layer", 500, 800)) == pytest.approx(0.85)
    assert loaded.heard(said("b", "Loading layer", 300, 300)) == pytest.approx(0.94)
    assert loaded.heard({"stream": "Loaded image: x:1\nLoaded image ID: sha256:00\n"}) == pytest.approx(0.94)
    assert loaded.names == ["x:1", "sha256:00"]


def test_a_load_of_unknown_size() -> None:
    loaded = Loaded(None)
    assert loaded.handed(500) == 0.0
    assert loaded.handed(2000, ended=True) == pytest.approx(0.7)
    assert loaded.heard(said("a", "Loading layer", 1000, 2000)) == pytest.approx(0.85)
