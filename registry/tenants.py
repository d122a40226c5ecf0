"""The name under which a tenant's things are kept where names are bounded; it never says who the tenant is."""

from __future__ import annotations

import hashlib


def tenant_hash(tenant: str) -> str:
    """32 hex digits that stand for a tenant in keys, prefixes and folders: of one length, and free of separators."""
    return hashlib.sha256(tenant.encode()).hexdigest()[:32]
