"""`python -m musegen` is the command `musegen`."""

from musegen.cli.main import main

main()
