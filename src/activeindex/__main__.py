"""``python -m activeindex …`` is ``activeindex …``; every command begins here."""

import sys

from activeindex.runtime.search_path import leave_out_current_folder


def start(command: str | None = None) -> int:
    """Run the console command, or one of its commands; return the exit code."""
    leave_out_current_folder()  # First of all: python -m would look for modules there.
    from activeindex.runtime.stopping import stoppable, stopped

    with stoppable():
        try:
            from activeindex import cli

            return cli.run() if command is None else cli.run_command(command)
        except KeyboardInterrupt as stop:
            return stopped(stop)
        except cli.FIXABLE:  # With --debug, which shows their traceback.
            cli.print_traceback()
            return cli.USER_ERROR


if __name__ == "__main__":
    sys.exit(start())
