"""What the columns of a dataset version hold, as counts that add up."""

from __future__ import annotations
