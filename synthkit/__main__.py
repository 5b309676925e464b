"""`python -m synthkit`: the command line, also under torchrun."""

from synthkit._cli.main import main

main()
