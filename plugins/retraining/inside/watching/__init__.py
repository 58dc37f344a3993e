"""What runs inside the jobs of a model in service: files are scored, smoke requests answered, captured requests counted."""

from __future__ import annotations
