"""``python -m bioseg_cli`` is the same program as ``bioseg``."""

from bioseg_cli.cli.app import main

if __name__ == "__main__":
    main()
