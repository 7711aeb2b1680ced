"""No secret of a configuration is printed: not in messages, not in source lines, not by printing the settings."""

from pathlib import Path

import pytest

from ngpu.settings import SettingsError, loads

SECRET = "hunter2"

PLACES = [
    f"workspaces: [{{webhook_secret: {SECRET}, slots: x}}]",
    f"workspaces:\n- webhook_secret: '{SECRET}'\n",
    f"workspaces:\n- webhook_secret: |\n    {SECRET}\n    {SECRET}\n",
    f"workspaces:\n- webhook_secret: [{SECRET}]\n",
    f"workspaces:\n- webhook_secert: {SECRET}\n",
    f"workspaces:\n- wehook_secrt: {SECRET}\n",
    f"workspaces:\n- keys: [{SECRET}]\n",
    f"workspaces:\n- keys: {SECRET}\n",
    f"workspaces:\n- key: {SECRET}\n",
    f"workspaces:\n- keys:\n  - {SECRET}\n  - {SECRET}\n",
    f"workspaces:\n- keys: [!!binary {SECRET}]\n",
    f"workspaces:\n- env: {{A: on, B: {SECRET}, C: 5}}\n",
    f"workspaces:\n- env: {{A: {SECRET}, A: {SECRET}}}\n",
    f"workspaces:\n- env: [A={SECRET}]\n",
    f"workspaces:\n- env:\n    A=B: {SECRET}\n",
    f"workspaces:\n- env: &e {{A: {SECRET}, B: 1}}\n  labels: *e\n",
    f"workspaces:\n- labels: &e {{A: {SECRET}, B: 1}}\n  env: *e\n",
    f"store: {{kind: 5, url: 'redis://u:{SECRET}@h', password: {SECRET}}}",
    f"store: {{kind: 5, url: 'redis://u:a@{SECRET}@h'}}",
    f"cloud: {{accounts: [{{email: e, password: {SECRET}}}]}}",
    f"cloud: {{accounts: [{{email: e, pasword: {SECRET}, password: 'scrypt${SECRET}'}}]}}",
    f"gates: {{g: {{checker: 5, options: {{api_key: {SECRET}, url: 'http://u:{SECRET}@h'}}}}}}",
    f"slots: whsec_{SECRET}",
    # no YAML: the structure is guessed
    f"workspaces:\n- webhook_secret: '{SECRET}\n",
    f"workspaces:\n- webhook_secret: {SECRET}: x\n",
    f"workspaces:\n- webhook_secret: '{SECRET}' x\n",
    f"workspaces:\n- env:\n    A: {SECRET}: x\n",
    f"workspaces:\n- env:\n    A: b\n\n    # c\n    B: [{SECRET}\n",
    f"workspaces:\n- env: {{\n    A: x,\n    B: '{SECRET}\n",
    f"workspaces:\n- keys:\n  - a: b\n  - {SECRET}: x: y\n",
    f"workspaces:\n- keys: [{SECRET}, '\n",
    f'{{"workspaces": [{{"env": {{"A": "{SECRET}" "B"}}}}]}}',
    f"workspaces:\n- {{id: 1, keys: [@{SECRET}]}}\n",
    f"workspaces:\n- webhook_secret: @{SECRET}\n",
    f"workspaces:\n- env: {{A: {SECRET}, B: *nothing}}\n---\n",
    f"workspaces:\n- env: {{A: {SECRET}, A: 1}}\n  x: b: c\n",
]


@pytest.mark.parametrize("text", PLACES)
def test_reports_show_no_secret(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        loads(text, "f", Path("/"))
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert SECRET not in repr(caught.value.problems)
    assert "f:" in str(caught.value)


def test_the_caret_stays_right_beside_masks() -> None:
    with pytest.raises(SettingsError) as caught:
        loads("workspaces:\n- {env: {A: abcdefghijkl, B: x}, slots: none}", "f", Path("/"))
    lines = str(caught.value).splitlines()
    where = next(index for index, line in enumerate(lines) if "slots" in line and line.startswith("f:"))
    assert lines[where].startswith("f:2:41: ")
    assert lines[where + 1] == "    - {env: {A: ***, B: ***}, slots: none}"
    assert lines[where + 2].index("^") == lines[where + 1].index("none")


def test_lines_without_secrets_are_shown_whole() -> None:
    with pytest.raises(SettingsError) as caught:
        loads("admin: {token_file: var/admin.token, x: 1}\nnode_grace: 5\n", "f", Path("/"))
    assert "    admin: {token_file: var/admin.token, x: 1}\n" in str(caught.value)
    assert "    node_grace: 5\n" in str(caught.value)


def test_printed_settings_show_no_secret() -> None:
    """They may end up in a log by way of a traceback."""
    text = f"""\
nodes: [{{address: aa, host: h}}]
cloud: {{accounts: [{{email: e, password: "scrypt$1024$8$1${"aa" * 8}${"bb" * 16}"}}]}}
store: {{kind: redis, url: "redis://u:{SECRET}@h"}}
workspaces:
- id: w
  ports: {{80: 1}}
  upstream: [{{node: aa, ports: {{80: 1}}}}]
  env: {{A: {SECRET}}}
  keys: ["{"cd" * 32}"]
  webhook_secret: whsec_{SECRET}x
"""
    loaded = loads(text, "f", Path("/"))
    assert loaded.settings.workspaces[0].env["A"] == SECRET
    for printed in (repr(loaded), str(loaded.settings), "\n".join(loaded.warnings)):
        assert not any(secret in printed for secret in (SECRET, "cdcd", "scrypt"))
