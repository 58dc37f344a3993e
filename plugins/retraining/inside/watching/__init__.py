"""What runs inside the jobs of a model in service: files are scored, requests are watched, answers are explained."""

from __future__ import annotations
