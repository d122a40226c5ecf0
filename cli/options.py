"""Options that several commands share; each reads its environment variable and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.errors import BadInput

Command = TypeVar("Command", bound=Callable[..., Any])

home_option = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="MODELLESS_HOME",
    default=lambda: Path.home() / ".modelless",
    show_default="~/.modelless",
    help="Folder of the catalogue and its blobs.  [env: MODELLESS_HOME]",
)


def _some(_: click.Context, option: click.Parameter, name: str | None) -> str | None:
    """A name that is not empty, as that of a variable which nobody set is."""
    if name == "":
        raise BadInput(f"{option.opts[0]}: is empty; give a name, or leave the option out")
    return name


stack_option = click.option(
    "--stack", metavar="NAME", callback=_some, help="A deployed stack, by its CloudFormation name."
)

table_option = click.option(
    "--table", metavar="NAME", callback=_some, help="A deployed table, where no stack tells its name."
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")

_url_option = click.option(
    "--url",
    envvar="MODELLESS_URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="Where `modelless up` listens, or a stack's FunctionUrl or ApiUrl.  [env: MODELLESS_URL]",
)

_key_option = click.option(
    "--api-key",
    envvar="MODELLESS_API_KEY",
    default=None,
    help="API key or JWT, where the server asks for one; nothing is signed then.  [env: MODELLESS_API_KEY]",
)


SIGN = "modelless.sign"
"""Where the command's context holds what --sign said: `cli.client` signs, and no command needs to know."""


def _keep_sign(ctx: click.Context, _: click.Parameter, service: str | None) -> None:
    ctx.meta[SIGN] = service


_sign_option = click.option(
    "--sign",
    envvar="MODELLESS_SIGN",
    type=click.Choice(["execute-api", "lambda"]),
    is_flag=False,
    flag_value="execute-api",
    expose_value=False,
    callback=_keep_sign,
    help="Sign with AWS credentials for this service, where the URL is not AWS's own.  [env: MODELLESS_SIGN]",
)


def store_options(command: Command) -> Command:
    """Add --home, --stack and --table: the catalogue of a home, or of what is deployed."""
    return home_option(stack_option(table_option(command)))


def server_options(command: Command) -> Command:
    """Add --url, --api-key and --sign."""
    return _url_option(_key_option(_sign_option(command)))


def home_or_server_options(command: Command) -> Command:
    """Add --home, and --url, --api-key and --sign for asking a server in its place."""
    url = click.option(
        "--url", default=None, help="Ask `modelless up` or a stack at this address, in place of the home."
    )
    return home_option(url(_key_option(_sign_option(command))))


def slo_options(command: Command) -> Command:
    """Add one option for each hint of an SLO; those not given are not sent."""
    options = (
        click.option("--latency-ms", type=float, help="Most milliseconds until the answer."),
        click.option("--percentile", type=float, help="Share of requests (1 to 99.9) that must hold --latency-ms."),
        click.option("--min-accuracy", type=float, help="Least accuracy, 0 to 1."),
        click.option("--max-cost-usd", type=float, help="Most US dollars for this request."),
        click.option("--objective", type=click.Choice(["accuracy", "cost", "latency"]), help="What to optimise."),
        click.option(
            "--on-infeasible",
            type=click.Choice(["best_effort", "strict"]),
            help="When no placement holds every bound: serve and say so, or refuse.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def given(**hints: Any) -> dict[str, Any]:
    """The hints that were given."""
    return {name: value for name, value in hints.items() if value is not None}
