"""Merges batches with the Glue job's own code in one Spark session: ``merge_batches.py MANIFEST...``."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from glue_scripts.merge.job import merge
from glue_scripts.merge.manifest import Manifest
from glue_scripts.merge.session import start_spark
from glue_scripts.merge.storage import Storage

spark = start_spark()
spark.sparkContext.setLogLevel("OFF")
storage = Storage()
for path in sys.argv[1:]:
    manifest = Manifest.of(json.loads(Path(path).read_text()))
    storage.write(manifest.report, json.dumps(merge(spark, manifest, storage)).encode())
spark.stop()
