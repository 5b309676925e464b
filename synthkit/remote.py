"""Files that are here or on a remote store (fsspec)."""

from __future__ import annotations
