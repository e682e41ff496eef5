"""The command `fanrun`: the same tasks as under `fab`, from any folder."""

from __future__ import annotations

from fanrun.tasks import startup


def main() -> None:
    """Run the tasks that the command line names; ends the process with their exit code."""
    startup.prepare()
    from fanrun.tasks import cli  # after prepare: it imports libraries, which may be missing

    cli.run()


if __name__ == "__main__":
    main()
