"""Sections of ``model.yaml`` about a model in service: scoring files, and the watch."""

from __future__ import annotations
