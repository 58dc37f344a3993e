"""Documents of the services of this package, written through to SQLite so that they survive a SIGKILL."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Store:
    """Named JSON documents by kind (``training-job``, ``endpoint`` ...); times are epoch seconds.

    All methods are safe to call from any thread. A document that is handed out is a copy.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # WAL with NORMAL: a commit reaches the operating system at once, which is what outlives a killed process.
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS documents (kind TEXT, name TEXT, body TEXT NOT NULL, PRIMARY KEY (kind, name))"
        )

    def insert(self, kind: str, name: str, document: Document) -> bool:
        """Add a document; return False, and change nothing, when the name is taken."""
        with self._lock:
            cursor = self._connection.execute(
                "INSERT OR IGNORE INTO documents VALUES (?, ?, ?)", (kind, name, json.dumps(document))
            )
            return cursor.rowcount == 1

    def put(self, kind: str, name: str, document: Document) -> None:
        """Write a document whether or not it exists."""
        with self._lock:
            self._connection.execute(
                "INSERT INTO documents VALUES (?, ?, ?) ON CONFLICT (kind, name) DO UPDATE SET body = excluded.body",
                (kind, name, json.dumps(document)),
            )

    def get(self, kind: str, name: str) -> Document | None:
        """Return a document, or None."""
        with self._lock:
            row = self._connection.execute(
                "SELECT body FROM documents WHERE kind = ? AND name = ?", (kind, name)
            ).fetchone()
        return json.loads(row[0]) if row else None

    def update(self, kind: str, name: str, change: Callable[[Document], None]) -> Document | None:
        """Apply `change` to a document in place and write it; return the new one, or None if there is none."""
        with self._lock:
            document = self.get(kind, name)
            if document is None:
                return None
            change(document)
            self.put(kind, name, document)
            return document

    def delete(self, kind: str, name: str) -> bool:
        """Remove a document; return whether there was one."""
        with self._lock:
            cursor = self._connection.execute("DELETE FROM documents WHERE kind = ? AND name = ?", (kind, name))
            return cursor.rowcount == 1

    def all(self, kind: str) -> list[Document]:
        """Return all documents of a kind in order of their first writing."""
        with self._lock:
            rows = self._connection.execute("SELECT body FROM documents WHERE kind = ? ORDER BY rowid", (kind,))
            return [json.loads(row[0]) for row in rows]

    def locked(self) -> threading.RLock:
        """Return the lock to hold over a check followed by a write."""
        return self._lock

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()
