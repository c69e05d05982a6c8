"""`python -m ddrep_core` is `ddrep`."""

from ddrep_core.cli import main

if __name__ == "__main__":
    main()
