"""`python -m pipebus_cli` is `pipebus`."""

import sys

from pipebus_cli.main import main

sys.exit(main())
