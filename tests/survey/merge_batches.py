"""Merges batches with the Glue job's own code in one Spark session: ``merge_batches.py MANIFEST...``."""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from glue_scripts import merge_survey_data as job

spark = job.start_spark()
spark.sparkContext.setLogLevel("OFF")
storage = job.Storage()
for path in sys.argv[1:]:
    manifest = job.Manifest.of(json.loads(Path(path).read_text()))
    storage.write(manifest.report, json.dumps(job.merge(spark, manifest, storage)).encode())
spark.stop()
