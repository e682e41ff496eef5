"""The processor as a program: python -m service.processor."""

from __future__ import annotations

import os
import sys

if not __package__:  # as python service/processor
    sys.path[0] = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from service.processor.servicer import main

if __name__ == "__main__":
    sys.exit(main())
