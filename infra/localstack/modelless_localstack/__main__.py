"""LocalStack as a child that never outlives its parent: `python -m modelless_localstack PID`; it adds nothing to it."""

from __future__ import annotations

import sys

from localstack.runtime.main import main

from gateway.environments.launch import die_with

if __name__ == "__main__":
    die_with(int(sys.argv.pop()))
    main()
