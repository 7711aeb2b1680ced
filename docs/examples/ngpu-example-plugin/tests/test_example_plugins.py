"""What the two plugins promise."""

from __future__ import annotations

from pathlib import Path

from ngpu.testing import HOLDER, candidate, load_plugin, make_plugin, request, verify_plugin

PLUGINS = Path(__file__).parents[1] / "src/ngpu/plugins"
NEAREST = load_plugin(PLUGINS / "nearest.py")
GUEST_LIST = load_plugin(PLUGINS / "guest_list.py")


def test_nearest_keeps_the_contract_of_selection_policies() -> None:
    """Whatever it is shown."""
    verify_plugin(NEAREST, options={"area": "eu"})


def test_nearest_leaves_its_area_only_when_it_must() -> None:
    """A busier replica nearby goes before an idle one far away."""
    near = candidate("near", in_flight=1, slots=2, labels={"area": "eu"})
    far = candidate("far", labels={"area": "us"})
    policy = make_plugin(NEAREST, {"area": "eu"})
    assert policy.select([far, near], request()) is near
    assert policy.select([far], request()) is far


def test_guest_list_keeps_the_contract_of_inscription_checkers(tmp_path: Path) -> None:
    """Who is on the list holds one, everybody else nothing."""
    (tmp_path / "guests").write_text(f"{HOLDER}\n\n")
    verify_plugin(GUEST_LIST, options={"file": "guests"}, holds={"AINN": "1"}, folder=str(tmp_path))
