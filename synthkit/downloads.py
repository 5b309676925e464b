"""Downloading with checksums, mirrors and resumption."""

from __future__ import annotations
