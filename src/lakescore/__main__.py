"""`python -m lakescore` is the command line."""

from lakescore.cli import main

raise SystemExit(main())
