"""Finding plugins: what is broken or ambiguous stops the start, and says what there is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

import ngpu.plugins
from ngpu.discovery import discover
from ngpu.errors import ConfigError
from ngpu.families import FAMILIES
from ngpu.interfaces import IPluginFactory, ISelectionPolicy, PluginContext

CONTEXT = PluginContext(Clock(), Random(1), ".")
PLUGIN = """
from zope.interface import implementer
from ngpu.interfaces import ISelectionPolicy, Option
from ngpu.plugin import Factory

@implementer(ISelectionPolicy)
class Policy:
    def select(self, replicas, request):
        return replicas[0]

def make(options, context):
    return Policy()

{binding} = Factory("selection", {name!r}, "A test's.", make, (Option("depth", "How far."),))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for `plugins.path`, forgotten with the test."""
    before, modules = list(ngpu.plugins.__path__), set(sys.modules)
    yield tmp_path
    ngpu.plugins.__path__[:] = before
    for module in set(sys.modules) - modules:
        if module.startswith("ngpu.plugins."):
            del sys.modules[module]
            vars(ngpu.plugins).pop(module.rpartition(".")[2], None)


def written(folder: Path, module: str, text: str) -> None:
    (folder / f"{module}.py").write_text(text)


def refusal(folder: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        discover([folder])
    assert refused.value.path[0] == "plugins"
    return str(refused.value)


def test_everything_that_is_found_keeps_its_promises() -> None:
    found = discover([])
    assert {"least_loaded", "round_robin"} <= set(found.names("selection")) and "static" in found.names("checker")
    for (family, name), factory in found.factories.items():
        assert verifyObject(IPluginFactory, factory)
        assert (factory.family, factory.name) == (family, name) and family in FAMILIES
        assert factory.summary and "\n" not in factory.summary
        assert all(option.name.isidentifier() and option.meaning for option in factory.options)


def test_a_folder_of_the_configuration_is_looked_into(folder: Path) -> None:
    written(folder, "far_away", PLUGIN.format(binding="far_away", name="far_away"))
    found = discover([folder])
    assert "far_away" in found.names("selection")
    assert verifyObject(ISelectionPolicy, found.make("selection", "far_away", {"depth": 1}, CONTEXT))


def test_a_folder_that_is_not_there_is_told(folder: Path) -> None:
    assert "no folder" in refusal(folder / "missing")


@pytest.mark.parametrize(
    ("text", "said"),
    [("import nothing_like_this", "nothing_like_this"), ("def (", "SyntaxError"), ("1 / 0", "ZeroDivisionError")],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_error(folder: Path, text: str, said: str) -> None:
    written(folder, "broken_one", text)
    told = refusal(folder)
    assert "broken_one" in told and said in told


def test_two_plugins_of_one_name_are_one_too_many(folder: Path) -> None:
    written(folder, "another", PLUGIN.format(binding="another", name="round_robin"))
    assert "two selection plugins are called 'round_robin'" in refusal(folder)


def test_a_plugin_of_no_family_is_told(folder: Path) -> None:
    text = PLUGIN.format(binding="lost", name="lost").replace('"selection"', '"selektion"')
    written(folder, "lost", text)
    assert "selektion" in refusal(folder)


def test_an_unknown_name_is_told_with_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError) as refused:
        discover([]).make("selection", "least_loded", {}, CONTEXT)
    assert "did you mean 'least_loaded'?" in str(refused.value) and "round_robin" in str(refused.value)
    assert refused.value.path == ()


def test_an_unknown_option_is_told_with_its_path_and_the_nearest() -> None:
    with pytest.raises(ConfigError) as refused:
        discover([]).make("checker", "static", {"balance": {}}, CONTEXT)
    assert "did you mean 'balances'?" in str(refused.value)
    assert refused.value.path == ("options", "balance")


def test_an_option_that_a_plugin_refuses_is_told_with_its_path() -> None:
    with pytest.raises(ConfigError) as refused:
        discover([]).make("checker", "static", {"balances": {"bc1": {"AINN": "many"}}}, CONTEXT)
    assert refused.value.path == ("options", "balances", "bc1", "AINN")


def test_a_plugin_that_makes_nothing_useful_is_told(folder: Path) -> None:
    written(
        folder,
        "useless",
        PLUGIN.format(binding="useless", name="useless").replace("return Policy()", "return object()"),
    )
    with pytest.raises(ConfigError) as refused:
        discover([folder]).make("selection", "useless", {}, CONTEXT)
    assert "useless" in str(refused.value)


def test_a_plugin_that_breaks_while_it_is_made_is_told(folder: Path) -> None:
    """A mistake in somebody's plugin is a line in the report of `ngpu check`, beside the others, and no traceback."""
    written(folder, "clumsy", PLUGIN.format(binding="clumsy", name="clumsy").replace("return Policy()", "1 / 0"))
    with pytest.raises(ConfigError) as refused:
        discover([folder]).make("selection", "clumsy", {"depth": 1}, CONTEXT)
    assert "'clumsy' is broken: making one raised ZeroDivisionError" in str(refused.value)
    assert refused.value.path == ("options",)


def test_a_module_that_wants_to_end_the_process_is_only_broken(folder: Path) -> None:
    written(folder, "leaver", "import sys\n\nsys.exit('no licence')\n")
    told = refusal(folder)
    assert f"{folder / 'leaver.py'}:3 cannot be imported: SystemExit: no licence" in told


def test_a_file_that_another_one_would_hide_is_told(folder: Path) -> None:
    """Python would import the first of that name and never look at the second."""
    written(folder, "round_robin", PLUGIN.format(binding="mine", name="mine"))
    told = refusal(folder)
    assert "have one name; rename one of them" in told and str(folder / "round_robin.py") in told


@pytest.mark.parametrize("name", ["far-away", "far\u00e9away"])
def test_a_file_that_cannot_be_a_module_is_told_with_a_name_that_can(folder: Path, name: str) -> None:
    """twisted.plugin would pass over the one without a word, and stumble over the other with a UnicodeError."""
    written(folder, name, PLUGIN.format(binding="far_away", name="far_away"))
    assert "call it far_away.py" in refusal(folder)


def test_a_file_in_which_the_factory_was_forgotten_is_told_when_it_is_wanted(folder: Path) -> None:
    written(folder, "forgetful", "class Policy: pass\n")
    with pytest.raises(ConfigError) as refused:
        discover([folder]).make("selection", "forgetful", {}, CONTEXT)
    assert f"{folder / 'forgetful.py'} holds no plugin: it needs a Factory" in str(refused.value)


@pytest.mark.parametrize(
    ("said", "instead", "flaw"),
    [
        ("'flawed'", "'Flawed One'", "not in snake_case"),
        ("'flawed'", "None", "not in snake_case"),
        ('"A test\'s."', '""', "summary"),
        ('"A test\'s."', '"two\\nlines"', "summary"),
        ('Option("depth", "How far.")', '("depth", "How far.")', "no Option"),
        ('Option("depth", "How far.")', 'Option("How far", "depth")', "no Option"),
        (', (Option("depth", "How far."),)', ", 7", "no list"),
        ('Option("depth", "How far."),', 'Option("depth", "a"), Option("depth", "b")', "called 'depth'"),
    ],
)
def test_what_a_plugin_says_of_itself_is_looked_at(folder: Path, said: str, instead: str, flaw: str) -> None:
    """A name that no configuration could write, or an option that is none, would only show once it is used."""
    whole = PLUGIN.format(binding="flawed", name="flawed")
    assert said in whole
    written(folder, "flawed", whole.replace(said, instead))
    assert flaw in refusal(folder)


def test_folders_of_an_earlier_configuration_are_forgotten(folder: Path) -> None:
    for part in ("one", "two"):
        (folder / part).mkdir()
        written(folder / part, "same_file", PLUGIN.format(binding="policy", name=part))
    assert "one" in discover([folder / "one"]).names("selection")
    assert not {"one", "two"} & set(discover([]).names("selection"))
    names = discover([folder / "two"]).names("selection")
    assert "two" in names and "one" not in names


def test_a_folder_that_is_named_twice_counts_once(folder: Path) -> None:
    mine = folder / "mine"
    mine.mkdir()
    written(mine, "far_away", PLUGIN.format(binding="far_away", name="far_away"))
    (folder / "again").symlink_to(mine)
    built_in = Path(ngpu.plugins.__file__ or "").parent
    assert "far_away" in discover([mine, folder / "again", built_in.resolve()]).names("selection")


def test_a_stale_cache_hides_no_plugin(folder: Path) -> None:
    """twisted.plugin goes by the age of files: one that was copied with its old date counts as known."""
    written(folder, "far_away", "")
    discover([folder])
    assert (folder / "dropin.cache").exists()
    written(folder, "far_away", PLUGIN.format(binding="far_away", name="far_away"))
    os.utime(folder / "far_away.py", (1, 1))
    del sys.modules["ngpu.plugins.far_away"]
    assert "far_away" in discover([folder]).names("selection")
