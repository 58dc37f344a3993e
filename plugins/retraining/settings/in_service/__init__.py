"""Sections of ``model.yaml`` about a model in service: scoring files, and the watch; and the cron expressions of both."""

from __future__ import annotations
