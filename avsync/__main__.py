"""`python -m avsync` is the command `avsync`."""

from avsync.cli import main

if __name__ == "__main__":
    main()
