"""The profile of the version that a batch makes."""

from __future__ import annotations
