"""What retraining jobs do with Spark, on a few rows: its classes are recorded, and waiting drivers are warmed with it.

Run as a script: ``typical_job.py SOURCE TARGET``, two folders that it writes.
"""

import sys

from pyspark.sql import SparkSession, Window
from pyspark.sql import functions as F


def main(source: str, target: str) -> None:
    """Read CSV, make numbers and hashes, drop repeated and known rows, write Parquet and JSON."""
    spark = SparkSession.builder.getOrCreate()
    rows = spark.createDataFrame([("M", 0.5, 7), ("F", 0.4, 9), ("F", 0.4, 9)], "sex string, length double, rings int")
    rows.write.mode("overwrite").option("header", True).csv(source)
    rows = spark.read.option("header", True).schema("sex string, length string, rings string").csv(source)
    rows = rows.withColumn("length", F.expr("try_cast(length as double)"))
    rows = rows.withColumn("rings", F.expr("try_cast(rings as int)"))
    rows = rows.withColumn("row_hash", F.sha2(F.concat_ws("|", "sex", "length", "rings"), 256))
    rows = rows.withColumn("split", F.when(F.abs(F.xxhash64("row_hash")) % 100 < 80, "train").otherwise("test"))
    rows = rows.withColumn("number", F.row_number().over(Window.partitionBy("row_hash").orderBy("sex")))
    rows = rows.where("number = 1").withColumn("file", F.input_file_name()).cache()
    rows.write.mode("overwrite").partitionBy("split").parquet(target)
    known = spark.read.parquet(target)
    fresh = rows.join(known.select("row_hash"), "row_hash", "left_anti")
    fresh.groupBy("sex").agg(F.avg("rings"), F.count("*")).collect()
    known.coalesce(1).write.mode("overwrite").json(f"{target}-json")
    spark.read.text(f"{target}-json").count()
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
