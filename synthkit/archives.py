"""Unpacking archives that may be hostile."""

from __future__ import annotations
