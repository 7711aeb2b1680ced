"""Engines in a configuration: which plugin they name, and where what is wrong with them stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngpu.errors import ConfigError
from ngpu.settings import Settings
from ngpu.settings.block import Surroundings
from ngpu.settings.engine import engine_options, engine_path, engine_plugin
from ngpu.tap import check


@pytest.mark.parametrize(
    ("written", "plugin", "url"),
    [
        ("unix:///run/docker.sock", "docker", "unix:///run/docker.sock"),
        ("docker+tcp://gpu1:2376", "docker", "tcp://gpu1:2376"),
        ("swarm+tcp://manager:2376", "swarm", "tcp://manager:2376"),
        ("unix:///run/a+b.sock", "docker", "unix:///run/a+b.sock"),
        ("ssh://ngpu@gpu-1:22", "docker", "ssh://ngpu@gpu-1:22"),
    ],
)
def test_the_plugin_stands_before_the_plus(written: str, plugin: str, url: str) -> None:
    node = {"address": "0x1", "host": "h", "engine": written}
    Settings.model_validate({"nodes": [node]}, context=Surroundings(Path("/")))
    assert engine_plugin(written) == (plugin, url)


def test_its_options_are_the_url_the_files_and_its_own() -> None:
    tls = {"ca": Path("/ca"), "cert": "cert.pem", "key": "key.pem"}
    made = engine_options("tcp://h:1", tls, {"timeout": "3s"})
    assert made == {"url": "tcp://h:1", "ca": "/ca", "cert": "cert.pem", "key": "key.pem", "timeout": "3s"}


def test_what_is_wrong_is_shown_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "ngpu.yaml"
    file.write_text(
        "nodes:\n"
        '- {address: "0x1", host: h, engine: "unix:///run/docker.sock", engine_options: {timeoutt: 3s}}\n'
        '- {address: "0x2", host: h, engine: "tcp://h:2376", tls: {ca: nothing.pem, cert: c, key: k}}\n'
        '- {address: "0x3", host: h, engine: "podman+unix:///x"}\n'
    )
    with pytest.raises(ConfigError) as caught:
        check(file, None)
    told = str(caught.value)
    assert "nodes[0].engine_options.timeoutt: docker has no such option (did you mean 'timeout'?)" in told
    assert "nodes[1].tls.ca: cannot be read" in told
    assert "nodes[2].engine: there is no engine plugin 'podman'" in told
    assert engine_path(()) == engine_path(("options", "url")) == ("engine",)
