import subprocess
import sys
from textwrap import dedent

import pytest

from kdbench.errors import UnknownName
from kdbench.plugins import load_plugins

GOOD = """
import kdbench

class Mine(kdbench.Method):
    '''A method.'''

@kdbench.hookimpl
def kdbench_register_methods(register):
    register("mine", Mine, family="logit")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that can be imported; its name is returned."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name, source):
        (tmp_path / f"{name}.py").write_text(dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


@pytest.fixture
def load(module, entry_point):
    """Load plugins from sources by name."""

    def loaded(*, blocked=(), **sources):
        points = [entry_point(name, module(f"plugin_{name}", source)) for name, source in sources.items()]
        return load_plugins(blocked, points)

    return loaded


def test_a_plugin_registers_what_its_hooks_say(load):
    plugins = load(good=GOOD)
    assert plugins.problems == []
    entry = plugins.catalog.find("method", "mine")
    assert (entry.plugin, entry.metadata["family"], entry.load().__name__) == ("good", "logit", "Mine")


def test_a_plugin_that_raises_on_import_is_named_and_the_rest_is_loaded(load):
    plugins = load(bad="raise ValueError('no luck')", good=GOOD)
    assert plugins.problems == ["plugin 'bad' was not loaded: ValueError: no luck (plugin_bad)"]
    assert plugins.catalog.find("method", "mine").plugin == "good"


def test_a_plugin_whose_library_is_missing_is_told_with_the_command_that_installs_it(load):
    plugins = load(lacking="import no_such_library", good=GOOD)
    (problem,) = plugins.problems
    assert problem.startswith("plugin 'lacking' was not loaded: ModuleNotFoundError: No module named 'no_such_library'")
    assert problem.endswith("pip install no_such_library")


def test_a_name_registered_twice_keeps_the_first_and_names_both(load):
    plugins = load(good=GOOD, later=GOOD.replace("'''A method.'''", "'''Another.'''"))
    (problem,) = plugins.problems
    assert problem.startswith("method 'mine' is registered by both 'good' and 'later'")
    assert "-p no:later" in problem
    assert plugins.catalog.find("method", "mine").plugin == "good"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("register('mine', 42)", "registered method 'mine' as 42; it must be a subclass of kdbench.Method"),
        ("register('mine', 'no_colon')", "registered method 'mine' as 'no_colon'; a string must be \"module:attr\""),
        ("register('', 'a:b')", "registered a method whose name is ''"),
        ("raise KeyError('oops')", "raised in plugin_bad.kdbench_register_methods: KeyError: 'oops'"),
    ],
)
def test_a_bad_registration_is_told_with_its_plugin_and_place(load, call, message):
    source = f"import kdbench\n@kdbench.hookimpl\ndef kdbench_register_methods(register):\n    {call}\n"
    plugins = load(bad=source, good=GOOD)
    (problem,) = plugins.problems
    assert "plugin 'bad'" in problem
    assert message in problem
    assert plugins.catalog.find("method", "mine").plugin == "good"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("lr=-1", "Expected `float` > 0.0 - at `$.lr`"),
        ("epochs='ten'", "Expected `int`, got `str` - at `$.epochs`"),
        ("schedule='zigzag'", "Invalid enum value 'zigzag' - at `$.schedule`"),
    ],
)
def test_a_recipe_that_nothing_can_be_trained_with_is_told_with_its_plugin_and_setting(load, recipe, message):
    hook = "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_recipes(register):\n"
    (problem,) = load(bad=f"{hook}    register('mine', kdbench.Recipe({recipe}))\n").problems
    assert "plugin 'bad' registered recipe 'mine' that cannot be used" in problem
    assert message in problem


def test_a_string_that_names_nothing_is_told_when_it_is_used(load):
    hook = "import kdbench\n@kdbench.hookimpl\ndef kdbench_register_methods(register):\n"
    source = hook + "    register('mine', 'no_module:X')\n"
    entry = load(bad=source).catalog.find("method", "mine")
    with pytest.raises(Exception, match="method 'mine' of plugin 'bad' cannot be imported from 'no_module:X'"):
        entry.load()


def test_a_blocked_plugin_is_not_even_imported(load):
    plugins = load(blocked=["bad"], bad="raise ValueError('never')", good=GOOD)
    assert plugins.problems == []
    assert [(plugin.name, plugin.blocked, plugin.loaded) for plugin in plugins.plugins] == [
        ("bad", True, False),
        ("good", False, True),
    ]


def test_blocking_an_unknown_plugin_is_refused_with_a_suggestion(load):
    with pytest.raises(UnknownName, match=r"(?s)no plugin is named 'goood'.*did you mean 'good'"):
        load(blocked=["goood"], good=GOOD)


def test_an_event_hook_that_raises_is_reported_by_name_and_the_others_are_told(load):
    source = """
    import kdbench
    heard = []

    @kdbench.hookimpl
    def kdbench_epoch_finished(run, epoch, logs):
        heard.append((run, epoch))
    """
    broken = source.replace("heard.append((run, epoch))", "raise OSError('disk')")
    plugins = load(listener=source, broken=broken)
    said = []
    plugins.emit("kdbench_epoch_finished", said.append, run="r", epoch=3, logs={})
    assert said == ["plugin 'broken' raised in kdbench_epoch_finished: OSError: disk"]
    assert sys.modules["plugin_listener"].heard == [("r", 3)]


def test_the_first_party_plugins_load_without_problems(plugins):
    assert plugins.problems == []
    assert {"data", "models", "classic", "starter", "executors"} <= {plugin.name for plugin in plugins.plugins}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list"], ["tune", "--help"], ["list", "methods"], ["list", "methods", "--json"], ["plugins"]],
)
def test_commands_that_only_look_do_not_import_torch(arguments):
    code = f"""
import sys
from kdbench.cli import main
try:
    main({arguments!r}, prog_name="kdbench")
finally:
    heavy = {{"torch", "pandas", "sklearn", "scipy", "numpy", "lightning_fabric", "optuna"}} & set(sys.modules)
    assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
