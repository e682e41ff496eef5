"""The tasks that people type, as Fabric finds them."""

from __future__ import annotations

import sys

# Fabric tells Python not to write compiled modules. Without them each start of fab takes 0.1 s longer.
sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)

# Fabric puts this folder first in sys.path.
from fanrun.tasks import startup

startup.prepare()

from fanrun.tasks import cli, collection

namespace = collection.TASKS
cli.adopt(cli.Messages)

__all__ = ["namespace"]
