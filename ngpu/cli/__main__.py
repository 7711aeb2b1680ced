"""``python -m ngpu.cli``: the ``ngpu`` command, where it is not installed."""

from ngpu.cli import main

main(prog_name="ngpu")
