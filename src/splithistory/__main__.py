"""``python -m splithistory`` is the command ``splithistory``."""

import sys

from splithistory.cli import main

sys.exit(main())
