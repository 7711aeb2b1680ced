"""Workspaces made, changed and removed at run time: checked like the file, durable first, never half of a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from desk_rig import CONFIGURATION, FIXED, FIXED_KEY, OK, Desk, digest
from gateway_rig import begun, done
from roster_rig import Hall, block
from twisted.internet.defer import Deferred

from ngpu.errors import BadSettings, Conflict, NotFound, StoreUnavailable
from ngpu.model import TaskStatus
from ngpu.workspaces import MASK, Source, shown


@pytest.fixture
def make_desk() -> Iterator[Callable[..., Desk]]:
    desks: list[Desk] = []

    def make(*args: Any, **keys: Any) -> Desk:
        desks.append(Desk(*args, **keys))
        return desks[-1]

    yield make
    for desk in desks:
        desk.following.stop()
        desk.hall.stop()


@pytest.fixture
def desk(make_desk: Callable[..., Desk]) -> Desk:
    return make_desk()


class TestCreating:
    def test_it_is_served_and_kept(self, desk: Desk) -> None:
        desk.hall.forwarder.answers[18080] = OK
        entry = done(desk.workspaces.create(block("w1", 18080)))
        assert (entry.id, entry.source, entry.problems) == ("w1", Source.API, ())
        assert desk.hall.call().value.task.status is TaskStatus.FINISHED
        assert desk.kept["w1"]["settings"]["name"] == "w"

    def test_another_process_takes_it_up(self, make_desk: Callable[..., Desk]) -> None:
        shelf: dict[str, dict[str, str]] = {}
        first = make_desk(shelf)
        done(first.workspaces.create(block("w1", 18080, keys=[digest("k")])))
        second = make_desk(shelf)
        assert second.opens("k") and not second.opens("w1")
        assert shown(second.workspaces.get("w1").settings) == shown(first.workspaces.get("w1").settings)

    def test_it_is_durable_before_it_is_live(self, desk: Desk) -> None:
        desk.documents.held = Deferred()
        making = begun(desk.workspaces.create(block("w1", 1)))
        assert not making.over and not desk.opens("w1")
        desk.documents.held.callback(None)
        assert making.over and desk.opens("w1")

    def test_a_client_that_leaves_does_not_cut_it_in_half(self, desk: Desk) -> None:
        desk.documents.held = held = Deferred()
        making = begun(desk.workspaces.create(block("w1", 1)))
        making.deferred.cancel()
        desk.documents.held = None
        held.callback(None)
        assert desk.opens("w1") and "w1" in desk.kept

    def test_what_the_store_refuses_has_not_happened(self, desk: Desk) -> None:
        desk.documents.refusing = "the disk is full"
        with pytest.raises(StoreUnavailable):
            done(desk.workspaces.create(block("w1", 1)))
        assert not desk.opens("w1")
        desk.documents.refusing = ""
        done(desk.workspaces.create(block("w1", 1)))
        desk.documents.refusing = "the disk is full"
        for change in (desk.workspaces.replace("w1", block("w1", 1, keys=[digest("k")])), desk.workspaces.delete("w1")):
            with pytest.raises(StoreUnavailable):
                done(change)
        assert desk.opens("w1") and not desk.opens("k") and desk.workspaces.get("w1")

    @pytest.mark.parametrize("taken", [FIXED, "w1"])
    def test_an_id_that_is_taken_is_refused(self, desk: Desk, taken: str) -> None:
        done(desk.workspaces.create(block("w1", 1)))
        with pytest.raises(Conflict):
            done(desk.workspaces.create(block(taken, 1)))

    def test_two_at_once_with_one_id_are_one(self, desk: Desk) -> None:
        desk.documents.held = held = Deferred()
        makings = [begun(desk.workspaces.create(block("w1", 1, name=name))) for name in "ab"]
        held.callback(None)
        assert makings[0].value.workspace.name == "a" and isinstance(makings[1].error, Conflict)


class TestChecks:
    @pytest.mark.parametrize(
        ("settings", "path", "message"),
        [
            ({}, "id", "is missing"),
            ({"id": 5}, "id", 'must be text, and this is a number: put it in quotes, "5"'),
            (block("w 1"), "id", "must be 1 to 64 letters, digits, '.', '_' or '-'"),
            (block(".."), "id", "must hold more than dots: it stands in addresses"),
            (block("w1", imagee={}), "imagee", "there is no such key here (did you mean 'image'?)"),
            (block("w1", timeout="5x"), "timeout", "has an unknown unit 'x'; known here: ms, s, m, h, d"),
            (block("w1", gate="anin"), "gate", "there is no gate 'anin' (did you mean 'ainn'?)"),
            (block("w1", keys=[digest("a")] * 2), "keys[1]", "this key stands in the list already"),
            (
                block("w1", keys=[digest(FIXED_KEY)]),
                "keys[0]",
                "this key opens another workspace: no two may share one",
            ),
            (block("w1", name="\ud800"), "name", "holds a lone surrogate, which no text can"),
            (
                block("w1", selection={"policy": "least_loaded", "options": {"x": 1}}),
                "selection.options.x",
                "least_loaded has no such option; it takes none",
            ),
            (
                block("w1") | {"upstream": [{"node": "0xAB011", "ports": {"8080": 1}}]},
                "upstream[0].node",
                "no node has the address '0xAB011' (did you mean '0xAB01'?)",
            ),
            (
                block("w1", image={"archive": "/etc/passwd"}) | {"upstream": []},
                "image.archive",
                "must be an http(s) URL",
            ),
            (
                block("w1", image={"archive": "https://10.0.0.1/x"}) | {"upstream": []},
                "image.archive",
                "public internet",
            ),
        ],
    )
    def test_what_is_wrong_is_said_with_its_path(
        self, desk: Desk, settings: dict[str, Any], path: str, message: str
    ) -> None:
        settings = settings if settings.get("upstream") or "image" in settings else {**settings, **_upstream()}
        assert message in desk.problems(settings)[path]

    def test_a_fleet_of_any_size_does_not_count_as_values(self, make_desk: Callable[..., Desk]) -> None:
        nodes = [{"address": f"0x{number:x}", "host": "h"} for number in range(6000)]
        desk = make_desk(nodes=[*nodes, *CONFIGURATION["nodes"]])
        assert desk.problems(block("w1", 1, command=["x"] * 6000)) == {"": "holds more than 5000 values"}
        done(desk.workspaces.create(block("w1", 1)))

    def test_everything_is_said_at_once(self, desk: Desk) -> None:
        wrong = {"id": "w1", "ports": {}, "replicas": -1, "retry": "always", "queue": {"limit": "x"}, "env": {"A": 1}}
        found = desk.problems(wrong)
        assert {"ports", "replicas", "retry", "queue.limit", "env.A", ""} == found.keys()

    def test_the_id_that_is_a_key_elsewhere_opens_one_workspace(self, desk: Desk) -> None:
        assert "key of another workspace" in desk.problems(block("a") | {"id": "w1"} | _keyed_by(desk))["id"]

    def test_secrets_are_never_echoed(self, desk: Desk) -> None:
        secret = "s3cr3t-s3cr3t"
        for wrong in (
            {"env": {"TOKEN": [secret]}},
            {"env": secret},
            {"keys": [secret]},
            {"keys": secret},
            {"webhook_secret": secret},
        ):
            settings = block("w1", **wrong) | _upstream()
            with pytest.raises(BadSettings) as caught:
                done(desk.workspaces.create(settings))
            assert secret not in str(caught.value) and secret not in str(caught.value.problems)

    @pytest.mark.parametrize(
        ("source", "right"),
        [
            ("/srv/models", True),
            ("/srv/models/sd", True),
            ("/srv/models/", True),
            ("/data/x", True),
            ("/srv/models-of-others", False),
            ("/srv", False),
            ("/", False),
            ("/etc", False),
            ("/srv/models/../../etc", False),
            ("/srv/models/./x", False),
            ("//srv/models", False),
            ("/srv//models", False),
        ],
    )
    def test_only_folders_of_fleet_mounts_are_mounted(self, desk: Desk, source: str, right: bool) -> None:
        mounts = {"mounts": [{"source": source, "target": "/models"}]}
        settings = block("w1", image={"reference": "x"}, container=mounts) | {"upstream": []}
        if right:
            done(desk.workspaces.create(settings))
        else:
            assert set(desk.problems(settings)) == {"container.mounts[0].source"}

    def test_without_fleet_mounts_nothing_is(self, make_desk: Callable[..., Desk]) -> None:
        desk = make_desk(fleet={})
        mounts = {"mounts": [{"source": "/srv/models", "target": "/models"}]}
        settings = block("w1", image={"reference": "x"}, container=mounts) | {"upstream": []}
        assert "there are none" in desk.problems(settings)["container.mounts[0].source"]


def _upstream() -> dict[str, Any]:
    return {"upstream": [{"node": "0xAB01", "ports": {"8080": 1}}]}


def _keyed_by(desk: Desk) -> dict[str, Any]:
    done(desk.workspaces.create(block("w2", 1, keys=[digest("w1")])))
    return _upstream()


class TestReplacing:
    def test_all_of_it_is_replaced_and_former_keys_open_nothing(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1, keys=[digest("old")], slots=3)))
        changed = block("w1", 1, keys=[digest("new")])
        del changed["id"]
        entry = done(desk.workspaces.replace("w1", changed))
        assert entry.workspace.slots == 1 and entry.settings["id"] == "w1"
        assert desk.opens("new") and not desk.opens("old")

    def test_an_id_does_not_change(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1)))
        with pytest.raises(BadSettings, match="ids do not change"):
            done(desk.workspaces.replace("w1", block("w2", 1)))

    def test_what_is_refused_changes_nothing(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1, keys=[digest("old")])))
        before = desk.kept
        with pytest.raises(BadSettings):
            done(desk.workspaces.replace("w1", block("w1", 1, keys=[digest("new"), "x"])))
        assert desk.opens("old") and not desk.opens("new") and desk.kept == before

    def test_what_was_shown_cannot_be_sent_back_with_its_stars(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1, keys=[digest("k")], env={"A": "1"})))
        seen = shown(desk.workspaces.get("w1").settings)
        assert seen["keys"] == [MASK] and seen["env"] == {"A": MASK}
        with pytest.raises(BadSettings) as caught:
            done(desk.workspaces.replace("w1", seen))
        assert [path for path, _ in caught.value.problems] == ["keys[0]", "env.A"]
        assert desk.opens("k")

    @pytest.mark.parametrize("change", ["replace", "delete"])
    def test_those_of_the_file_are_read_only(self, desk: Desk, change: str) -> None:
        work = desk.workspaces.replace(FIXED, block(FIXED, 1)) if change == "replace" else desk.workspaces.delete(FIXED)
        with pytest.raises(Conflict, match="stands in the configuration file"):
            done(work)

    def test_what_is_not_there_is_not_found(self, desk: Desk) -> None:
        for work in (desk.workspaces.replace("w1", block("w1", 1)), desk.workspaces.delete("w1")):
            with pytest.raises(NotFound):
                done(work)
        with pytest.raises(NotFound):
            desk.workspaces.get("w1")


class TestDeleting:
    def test_it_is_gone_with_its_queue(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1)))
        queued = [desk.hall.submit() for _ in range(3)]
        done(desk.workspaces.delete("w1"))
        assert not desk.opens("w1") and desk.kept == {}
        assert [desk.hall.task(each).status for each in queued] == [TaskStatus.FAILED] * 3
        done(desk.workspaces.create(block("w1", 1)))
        assert desk.opens("w1")

    def test_a_removal_that_was_cut_is_finished_by_the_next_process(self, make_desk: Callable[..., Desk]) -> None:
        """The first one dies after the removal is durable and before the queue is empty."""
        shelf: dict[str, dict[str, str]] = {}
        first = make_desk(shelf)
        done(first.workspaces.create(block("w1", 1)))
        queued = first.hall.submit()
        first.hall.store.holding = {"claim"}
        deleting = begun(first.workspaces.delete("w1"))
        assert not deleting.over and first.kept == {"w1": {"removed": True}}
        second = make_desk(shelf, hall=Hall(shelf=first.hall.shelf))
        assert not second.opens("w1")
        done(second.workspaces.settle())
        assert second.hall.task(queued).status is TaskStatus.FAILED and second.kept == {}

    def test_one_that_was_made_again_meanwhile_is_left_alone(self, make_desk: Callable[..., Desk]) -> None:
        shelf = {"workspaces": {"w1": '{"removed": true}'}}
        desk = make_desk(shelf)
        done(desk.workspaces.create(block("w1", 1)))
        done(desk.workspaces.settle())
        assert desk.opens("w1") and "settings" in desk.kept["w1"]

    def test_a_store_that_refuses_the_rest_does_not_bring_it_back(self, desk: Desk) -> None:
        done(desk.workspaces.create(block("w1", 1)))
        queued = desk.hall.submit()
        desk.hall.store.refusing = {"claim"}
        done(desk.workspaces.delete("w1"))
        assert not desk.opens("w1")
        desk.hall.store.refusing = set()
        desk.hall.pass_time(3)
        assert desk.hall.task(queued).status is TaskStatus.FAILED


class TestTakingUp:
    def test_what_does_not_fit_any_more_is_kept_with_its_problems_and_stops_nothing(
        self, make_desk: Callable[..., Desk]
    ) -> None:
        shelf: dict[str, dict[str, str]] = {}
        first = make_desk(shelf)
        done(first.workspaces.create(block("gated", 1, gate="ainn")))
        done(first.workspaces.create(block("plain", 1)))
        second = make_desk(shelf, gates={})
        assert second.opens("plain") and not second.opens("gated")
        entry = second.workspaces.get("gated")
        assert entry.workspace is None and entry.problems == (("gate", "there is no gate 'ainn'"),)
        done(second.workspaces.replace("gated", block("gated", 1)))
        assert second.opens("gated") and second.workspaces.get("gated").problems == ()

    def test_one_that_does_not_fit_can_be_removed(self, make_desk: Callable[..., Desk]) -> None:
        desk = make_desk({"workspaces": {"w1": '{"settings": {"id": "w1"}}'}})
        assert desk.workspaces.get("w1").problems
        done(desk.workspaces.delete("w1"))
        assert desk.kept == {}

    def test_a_key_that_the_file_gives_to_another_since_stays_the_file_s(self, make_desk: Callable[..., Desk]) -> None:
        shelf: dict[str, dict[str, str]] = {}
        done(make_desk(shelf, workspaces=[]).workspaces.create(block("w1", 1, keys=[digest(FIXED_KEY)])))
        desk = make_desk(shelf)
        assert desk.hall.roster.tenancy.open(FIXED_KEY).workspace.id == FIXED
        assert [path for path, _ in desk.workspaces.get("w1").problems] == ["keys[0]"]

    def test_the_file_holds_where_both_have_an_id(self, make_desk: Callable[..., Desk]) -> None:
        shelf: dict[str, dict[str, str]] = {}
        done(make_desk(shelf, workspaces=[]).workspaces.create(block(FIXED, 1)))
        desk = make_desk(shelf)
        assert desk.workspaces.get(FIXED).source is Source.FILE and not desk.opens(FIXED)
        assert FIXED in desk.kept

    @pytest.mark.parametrize("document", ["{}", '{"settings": 5}', '{"settings": {"id": "other"}}', '{"settings": {}}'])
    def test_a_document_that_makes_no_sense_stops_nothing(self, make_desk: Callable[..., Desk], document: str) -> None:
        desk = make_desk({"workspaces": {"w1": document}})
        assert not desk.opens("w1") and not desk.opens("other") and desk.opens(FIXED_KEY)


def test_what_is_shown_has_no_secret() -> None:
    settings = {
        "keys": [digest("k")],
        "env": {"HF_TOKEN": "hf_x", "EMPTY": ""},
        "webhook_secret": "whsec_c2VjcmV0",
        "image": {"archive": "https://user:pass@host/x.tar"},
        "ports": {8080: 80},
        "selection": {"options": {"api_key": "x", "key_file": "keys/x", "deep": [{"password": {"a": 1}}]}},
        "command": ["run", f"--hash={digest('x')}"],
        "limit": float("inf"),
    }
    assert shown(settings) == {
        "keys": [MASK],
        "env": {"HF_TOKEN": MASK, "EMPTY": ""},
        "webhook_secret": MASK,
        "image": {"archive": f"https://{MASK}@host/x.tar"},
        "ports": {"8080": 80},
        "selection": {"options": {"api_key": MASK, "key_file": "keys/x", "deep": [{"password": {"a": MASK}}]}},
        "command": ["run", f"--hash={MASK}"],
        "limit": "inf",
    }
