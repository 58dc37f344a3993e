"""What runs inside the jobs of a model in service: files are scored, captured requests are counted."""

from __future__ import annotations
