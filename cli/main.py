"""`modelless`: the table of commands; imports each only when it is called, and does nothing itself."""

from __future__ import annotations

import errno
import importlib

import click

from cli.errors import BadInput, Failed, unknown
from registry.errors import InvalidManifest, InvalidValue, NotFound, RegistryError

COMMANDS: dict[str, str] = {
    "up": "cli.up:up",
    "demo": "cli.demo:demo",
    "container": "cli.container:container",
    "register": "cli.register:register",
    "profile": "cli.profile:profile",
    "generate": "cli.generate:generate",
    "generations": "cli.generations:generations",
    "capacity": "cli.capacity:capacity",
    "push": "cli.push:push",
    "unpush": "cli.push:unpush",
    "tasks": "cli.catalogue:tasks",
    "variants": "cli.catalogue:variants",
    "frontier": "cli.frontier:frontier",
    "switching": "cli.switching:switching",
    "simulate": "cli.simulate:simulate",
    "predict": "cli.ask:predict",
    "plan": "cli.ask:plan",
    "explain": "cli.ask:explain",
    "submit": "cli.jobs:submit",
    "jobs": "cli.jobs:jobs",
    "cancel": "cli.jobs:cancel",
    "feedback": "cli.feedback:feedback",
    "history": "cli.releases:history",
    "rollback": "cli.releases:rollback",
}
"""Command name to `module:attribute`, in the order of a first day."""


class Commands(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in COMMANDS' order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but an unknown name is answered with the nearest known."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise unknown("command", args[0], COMMANDS)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what the registry or the system refuses becomes a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (InvalidValue, InvalidManifest, NotFound) as error:
            raise BadInput(str(error)) from error
        except RegistryError as error:
            raise Failed(str(error)) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # Whoever read our output has enough of it; click ends quietly.
            raise Failed(str(error)) from error


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="modelless", prog_name="modelless")
def main() -> None:
    """Name a task, hint an SLO, get a prediction: the platform picks the model and the place."""


if __name__ == "__main__":
    main()
