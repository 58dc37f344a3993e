"""Sections of ``model.yaml`` about what runs at the times of a cron expression: the retraining, the scoring of files, and the watch."""

from __future__ import annotations
