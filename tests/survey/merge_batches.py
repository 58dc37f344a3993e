"""Merges batches with the Glue job's own code in one process: ``merge_batches.py MANIFEST...``."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from glue_scripts.merge.job import merge, start_spark
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.storage import Storage

storage = Storage()
for path in sys.argv[1:]:
    manifest = Manifest.of(json.loads(Path(path).read_text()))
    storage.write(manifest.report, json.dumps(merge(manifest, storage, start_spark)).encode())
