"""From settings to recipes and containers, and documents that come back as they went."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from gateway_rig import done
from hypothesis import given
from hypothesis import strategies as st

from ngpu.containers import Mount
from ngpu.fleet.copies import Copy, Pin, Standing, copy_of, pin_of, standing_of
from ngpu.fleet.state import FleetState
from ngpu.fleet.wanted import (
    Deployment,
    Recipe,
    Source,
    container_spec,
    demand_of,
    deployment_of,
    recipe_of,
    registry_of,
)
from ngpu.settings import Workspace
from ngpu.settings.block import Surroundings
from ngpu.testing.documents import MemoryDocuments

ID = "367614711220405248"
FOLDER = Path("/etc/ngpu")

ports = st.dictionaries(st.integers(1, 65535), st.integers(1, 65535), min_size=1, max_size=3)
recipes = st.builds(
    Recipe,
    st.builds(Source, st.sampled_from(["reference", "archive"]), st.text(max_size=20), st.booleans()),
    st.text(max_size=10),
    st.lists(st.text(max_size=5), max_size=3).map(tuple),
    st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=5), max_size=3),
    ports,
    ports,
    st.integers(0, 9),
    st.integers(0, 1 << 40),
    read_only=st.booleans(),
    tmpfs=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    mounts=st.lists(st.builds(Mount, st.text(max_size=5), st.text(max_size=5), st.booleans()), max_size=2).map(tuple),
    stop_grace=st.floats(0, 100),
)
copies = st.builds(
    Copy,
    st.text(min_size=1, max_size=8),
    st.text(max_size=8),
    st.text(max_size=8),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=3).map(tuple),
    st.integers(0, 1 << 40),
    st.lists(st.integers(1, 65535), max_size=3).map(tuple),
    ports,
    since=st.floats(0, 2e9),
    leaving=st.text(max_size=8),
)


def through_json(document: Any) -> Any:
    return json.loads(json.dumps(document))


@given(recipes)
def test_a_recipe_comes_back_as_it_went(recipe: Recipe) -> None:
    again = recipe_of(through_json(recipe.document()))
    assert again == recipe
    assert again.revision == recipe.revision
    assert list(again.ports) == list(recipe.ports), "the first port is the default"


@given(copies)
def test_a_copy_comes_back_as_it_went(copy: Copy) -> None:
    assert copy_of(copy.id, through_json(copy.document())) == copy


@given(
    st.builds(
        Standing, st.booleans(), st.none() | recipes, st.none() | recipes, st.text(max_size=5), st.text(max_size=5)
    )
)
def test_a_standing_comes_back_as_it_went(standing: Standing) -> None:
    assert standing_of(through_json(standing.document())) == standing


def test_documents_of_another_version_cost_themselves_only() -> None:
    shelf = {
        "copies": {"a": "{}", "b": json.dumps(Copy("b", "w", "n", "r").document())},
        "pins": {"p": '{"image": "i", "stale": false}', "q": '{"what": 1}'},
        "deployments": {"d": "[]"},
        "nodes": {"n": '{"away_since": 5}', "m": '{"away_since": "x"}'},
        "drained": {"n": "{}"},
    }
    state = FleetState(MemoryDocuments(shelf))
    done(state.load())
    assert list(state.copies) == ["b"]
    assert state.pins == {"p": Pin("i")} == {"p": pin_of({"image": "i", "stale": False})}
    assert (state.standings, state.away_since, state.drained) == ({}, {"n": 5.0}, {"n"})


def deployed(**keys: Any) -> Deployment:
    block = {"id": ID, "name": "w", "image": {"reference": "r.test/app:1"}, "ports": {8080: 80, 9090: 81}, **keys}
    workspace = Workspace.model_validate(block, context=Surroundings(FOLDER))
    made = deployment_of(workspace, FOLDER, lambda placement: None)
    assert made is not None
    return made


def test_everything_that_settings_say_gets_into_the_container() -> None:
    deployment = deployed(
        command=["run", "--fast"],
        env={"A": "1"},
        gpus={"type": "X", "count": 2, "memory": "8GiB"},
        placement={"labels": {"area": "eu"}},
        container={
            "memory": "1GiB",
            "pids": 7,
            "shm": "64MiB",
            "user": "1000:1000",
            "read_only": True,
            "tmpfs": ["/tmp"],
            "mounts": [{"source": "/srv/models", "target": "/models"}],
            "publish": {9090: 30000},
            "stop_grace": "3s",
        },
    )
    spec = container_spec("f", "w-1", deployment.digest, ("0", "1"), deployment.recipe, "image")
    assert (spec.name, spec.image, spec.command, dict(spec.env)) == (
        "ngpu-f-w-1",
        "image",
        ("run", "--fast"),
        {"A": "1"},
    )
    assert dict(spec.ports) == {80: 0, 81: 30000}
    assert (spec.gpus, spec.gpu_ids, spec.memory, spec.pids, spec.shm) == (2, ("0", "1"), 1 << 30, 7, 64 << 20)
    assert (spec.user, spec.read_only, spec.tmpfs, spec.stop_grace) == ("1000:1000", True, ("/tmp",), 3.0)
    assert spec.mounts == (Mount("/srv/models", "/models", True),)
    assert ID not in json.dumps(dict(spec.labels))
    assert spec.labels["ngpu.gpus"] == "0,1" and spec.labels["ngpu.copy"] == "w-1"
    demand = demand_of(deployment, deployment.recipe)
    assert (demand.gpus, demand.gpu_type, demand.gpu_memory, demand.memory) == (2, "X", 8 << 30, 1 << 30)
    assert (demand.ports, dict(demand.labels)) == ((30000,), {"area": "eu"})


@pytest.mark.parametrize(
    "keys",
    [
        {"command": ["other"]},
        {"env": {"A": "2"}},
        {"ports": {8080: 81}},
        {"gpus": {"count": 2}},
        {"container": {"memory": "1GiB"}},
        {"container": {"publish": {8080: 30000}}},
    ],
)
def test_what_makes_another_container_makes_another_revision(keys: dict[str, Any]) -> None:
    assert deployed(**keys).recipe.revision != deployed().recipe.revision


@pytest.mark.parametrize(
    "keys",
    [{"replicas": 7}, {"slots": 3}, {"keys": ["0" * 64]}, {"gpus": {"type": "X", "count": 1}}, {"timeout": "1s"}],
)
def test_what_makes_no_other_container_makes_no_other_revision(keys: dict[str, Any]) -> None:
    assert deployed(**keys).recipe.revision == deployed().recipe.revision


def test_two_declared_ports_of_one_container_port_are_published_once() -> None:
    recipe = deployed(ports={8080: 80, 8081: 80}, container={"publish": {8081: 30000}}).recipe
    assert dict(container_spec("f", "c", "d", (), recipe, "i").ports) == {80: 30000}


@pytest.mark.parametrize(
    ("image", "source"),
    [
        ({"reference": "app:1"}, Source("reference", "app:1")),
        ({"archive": "images/app.tar"}, Source("archive", "/etc/ngpu/images/app.tar")),
        ({"archive": "/srv/app.tar"}, Source("archive", "/srv/app.tar")),
        ({"archive": "https://x.test/app.tar"}, Source("archive", "https://x.test/app.tar")),
        ({"archive": "HTTP://x.test/app.tar"}, Source("archive", "HTTP://x.test/app.tar")),
    ],
)
def test_where_an_image_comes_from(image: dict[str, str], source: Source) -> None:
    assert deployed(image=image).recipe.source == source


@pytest.mark.parametrize(
    ("reference", "host"),
    [
        ("app", "docker.io"),
        ("library/app:1", "docker.io"),
        ("registry.test/app", "registry.test"),
        ("registry.test:5000/a/b@sha256:00", "registry.test:5000"),
        ("localhost/app", "localhost"),
        ("app:1/x", "app:1"),
    ],
)
def test_the_registry_of_a_reference(reference: str, host: str) -> None:
    assert registry_of(reference) == host
