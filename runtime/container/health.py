"""`python -m runtime.container.health`: whether the container of this machine takes requests, as its exit status.

For a HEALTHCHECK, where there is no curl; it reads the same variables as the container and changes nothing.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

from registry.errors import InvalidValue
from runtime.container.settings import Settings

PATIENCE_S = 2.0


def healthy(variables: Mapping[str, str]) -> bool:
    """Whether it answers that it is ready, where these variables have it listen; raises InvalidValue."""
    connection = http.client.HTTPConnection("localhost", Settings.read(variables).port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    try:
        sys.exit(0 if healthy(os.environ) else 1)
    except InvalidValue as fault:
        sys.exit(f"error: {fault}")
