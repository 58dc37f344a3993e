"""``DynamicFrame``: a Spark frame with the methods that Glue scripts call on it.

Here it is a data frame and the names of its columns with more than one type (choices), which `resolveChoice` resolves. A field that a
transform names and the frame lacks is passed over, as in Glue, where each record has its own fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from glue_rows import choices, paths, relational
from glue_rows.records import mapped
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import NullType, StructType


class DynamicFrame:
    """``DynamicFrame(data_frame, glue_context, name)``."""

    def __init__(self, jdf: DataFrame, glue_ctx: Any, name: str = "", *, choices: Iterable[str] = ()) -> None:
        self._frame = jdf
        self.glue_ctx = glue_ctx
        self.name = name
        self._choices = set(choices)

    @classmethod
    def fromDF(cls, dataframe: DataFrame, glue_ctx: Any, name: str = "") -> DynamicFrame:
        """Return a data frame as dynamic frame."""
        return cls(dataframe, glue_ctx, name)

    def toDF(self, options: Any = None) -> DataFrame:
        """Return the data frame; a column with more than one type is a structure with a field for each."""
        frame = self._frame
        for path, action in options or []:
            frame, _ = choices.resolve(frame, self._choices, path, action)
        return frame

    def _next(self, frame: DataFrame, kept: set[str] | None = None) -> DynamicFrame:
        known = self._choices if kept is None else kept
        return DynamicFrame(frame, self.glue_ctx, self.name, choices=known & set(frame.columns))

    # -- looks -----------------------------------------------------------------------------------------------------

    def count(self) -> int:
        """Return the number of rows."""
        return self._frame.count()

    def schema(self) -> StructType:
        """Return the schema of the data frame."""
        return self._frame.schema

    def printSchema(self) -> None:
        """Print the fields; choices as such."""
        for line in self._frame._jdf.schema().treeString().splitlines():
            name = line.removeprefix(" |-- ").split(":")[0]
            text = line.replace(": struct (", ": choice (") if name in self._choices else line
            print(text)  # noqa: T201 - printing is what it is for

    def show(self, num_rows: int = 20) -> None:
        """Print some rows as JSON."""
        for line in self._frame.limit(num_rows).toJSON().collect():
            print(line)  # noqa: T201 - printing is what it is for

    def errorsCount(self) -> int:
        """Return 0: a transform that fails here fails the job."""
        return 0

    stageErrorsCount = errorsCount

    def assertErrorThreshold(self) -> None:
        """Do nothing: there are no error records."""

    def errorsAsDynamicFrame(self) -> DynamicFrame:
        """Return an empty frame."""
        empty = self.glue_ctx.spark_session.createDataFrame([], StructType([]))
        return DynamicFrame(empty, self.glue_ctx, f"{self.name}_errors")

    def getNumPartitions(self) -> int:
        """Return the number of partitions."""
        return int(self._frame.rdd.getNumPartitions())

    # -- columns ---------------------------------------------------------------------------------------------------

    def apply_mapping(self, mappings: Iterable[tuple[str, ...]], **_: Any) -> DynamicFrame:
        """Return the named fields with new names and types: ``(source, source type, target, target type)``, or ``(source, target)``."""
        tree: dict[str, Any] = {}
        for mapping in mappings:
            source, kind, target, target_type = _mapping(mapping)
            names = paths.resolve(self._frame, source)
            if names is None:
                continue
            value = paths.column(names)
            if names[0] in self._choices and len(names) == 1:
                fields: Any = self._frame.schema[names[0]].dataType
                chosen = choices.glue_type_of(kind)
                value = value.getField(chosen if chosen in fields.fieldNames() else fields.fieldNames()[-1])
            if target_type:
                value = _cast(value, target_type)
            paths.put(tree, paths.parts(target), value)
        return self._next(self._frame.select(*paths.nested(tree)), set())

    def select_fields(self, paths: Iterable[str], **_: Any) -> DynamicFrame:
        """Return the named fields alone."""
        return self._next(_selected(self._frame, _listed(paths)))

    def drop_fields(self, paths: Iterable[str], **_: Any) -> DynamicFrame:
        """Return the frame without the named fields."""
        frame = self._frame
        for path in _listed(paths):
            frame = _without(frame, path)
        return self._next(frame)

    def rename_field(self, oldName: str, newName: str, **_: Any) -> DynamicFrame:
        """Return the frame with another name of one field."""
        names = paths.resolve(self._frame, oldName)
        if names is None:
            return self
        target = paths.parts(newName)
        if len(names) == 1 and len(target) == 1:
            kept = {target[0] if name == names[0] else name for name in self._choices}
            return self._next(self._frame.withColumnRenamed(names[0], target[0]), kept)
        tree: dict[str, Any] = {name: paths.column([name]) for name in self._frame.columns if [name] != names}
        frame = self._frame.withColumn("renamed field", paths.column(names))
        frame = paths.without(frame, oldName) if len(names) > 1 else frame
        tree = {name: value for name, value in tree.items() if name in frame.columns}
        if target[:-1] and target[0] in frame.columns:
            value = F.col(paths.quoted(target[:1])).withField(paths.quoted(target[1:]), F.col("renamed field"))
            tree[target[0]] = value
        else:
            paths.put(tree, target, F.col("renamed field"))
        return self._next(frame.select(*paths.nested(tree)))

    def resolveChoice(
        self, specs: Iterable[tuple[str, str]] | None = None, choice: str = "", database: str | None = None,
        table_name: str | None = None, **_: Any,
    ) -> DynamicFrame:  # fmt: skip
        """Resolve columns with more than one type: by column (``specs``), or all of them alike (``choice``).

        Raises:
            ValueError: both or an unknown action are given.

        """
        if specs and choice:
            raise ValueError("resolveChoice takes one of specs and choice")
        frame, left = self._frame, set(self._choices)
        if choice == "match_catalog":
            from glue_rows.sources import find_table

            table = find_table(database or "", table_name or "")
            columns = [*table["StorageDescriptor"]["Columns"], *table.get("PartitionKeys", [])]
            specs = [(column["Name"], f"cast:{column['Type']}") for column in columns]
        elif choice:
            specs = [(name, choice) for name in sorted(left)]
        for path, action in specs or []:
            frame, left = choices.resolve(frame, left, path.strip("`"), action)
        return self._next(frame, left)

    def dropNullFields(self) -> DynamicFrame:
        """Return the frame without the columns that hold nothing but null."""
        names = [field.name for field in self._frame.schema if isinstance(field.dataType, NullType)]
        others = [name for name in self._frame.columns if name not in names]
        row = (
            self._frame.agg(*[F.count(paths.column([name])).alias(name) for name in others]).first() if others else None
        )
        names += [name for name in others if row is not None and row[name] == 0]
        return self.drop_fields([f"`{name}`" for name in names])

    # -- rows ------------------------------------------------------------------------------------------------------

    def filter(self, f: Callable[[Any], bool], **_: Any) -> DynamicFrame:
        """Return the rows for which a function of the record is true."""
        frame = self._frame
        from glue_rows.records import Record

        rows = frame.rdd.filter(lambda row: bool(f(Record(row.asDict(recursive=True)))))
        return self._next(frame.sparkSession.createDataFrame(rows, frame.schema, verifySchema=False))

    def map(self, f: Callable[[Any], Any], **_: Any) -> DynamicFrame:
        """Return what a function makes of each record; its fields and types are those that it returns."""
        return self._next(mapped(self._frame, f), set())

    def join(self, paths1: list[str] | str, paths2: list[str] | str, frame2: DynamicFrame, **_: Any) -> DynamicFrame:
        """Return the equality join; a name of both sides is prefixed with a dot in the second, as in Glue. One key may be given alone."""
        paths1, paths2 = _listed(paths1), _listed(paths2)
        left, right = self._frame, frame2._frame
        renamed = [f".{name}" if name in left.columns else name for name in right.columns]
        right = right.toDF(*renamed)
        pairs = zip(paths1, paths2, strict=True)
        conditions = [
            left[paths.quoted([one])] == right[paths.quoted([renamed[frame2._frame.columns.index(other)]])]
            for one, other in pairs
        ]
        condition: Any = conditions[0]
        for other in conditions[1:]:
            condition = condition & other
        return self._next(left.join(right, condition))

    def union(self, other: DynamicFrame, **_: Any) -> DynamicFrame:
        """Return the rows of both, by name."""
        return self._next(self._frame.unionByName(other._frame, allowMissingColumns=True))

    unionAll = union

    def mergeDynamicFrame(self, stage_dynamic_frame: DynamicFrame, primary_keys: list[str], **_: Any) -> DynamicFrame:
        """Return the rows with those of another frame in the place of the ones with the same keys."""
        kept = self._frame.join(stage_dynamic_frame._frame.select(*primary_keys), primary_keys, "left_anti")
        return self._next(kept.unionByName(stage_dynamic_frame._frame, allowMissingColumns=True))

    def drop_duplicates(self, keys: list[str] | None = None, **_: Any) -> DynamicFrame:
        """Return each row, or each key, once."""
        return self._next(self._frame.dropDuplicates(keys) if keys else self._frame.dropDuplicates())

    def repartition(self, num_partitions: int, **_: Any) -> DynamicFrame:
        """Return the rows in so many partitions."""
        return self._next(self._frame.repartition(num_partitions))

    def coalesce(self, num_partitions: int, shuffle: bool = False, **_: Any) -> DynamicFrame:
        """Return the rows in at most so many partitions."""
        return self.repartition(num_partitions) if shuffle else self._next(self._frame.coalesce(num_partitions))

    def split_fields(self, paths: list[str], name1: str, name2: str, **_: Any) -> DynamicFrameCollection:
        """Return two frames: the named fields, and all others."""
        frames = {name1: self.select_fields(paths), name2: self.drop_fields(paths)}
        return DynamicFrameCollection(frames, self.glue_ctx)

    def split_rows(
        self, comparison_dict: Mapping[str, Mapping[str, Any]], name1: str, name2: str, **_: Any
    ) -> DynamicFrameCollection:
        """Return two frames: the rows that fulfil all comparisons, ``{"age": {">": 10}}``, and all others."""
        condition = F.lit(True)
        for path, comparisons in comparison_dict.items():
            for sign, value in comparisons.items():
                condition = condition & _comparison(
                    paths.column(paths.resolve(self._frame, path) or [path]), sign, value
                )
        chosen = F.coalesce(condition, F.lit(False))
        frames = {name1: self._next(self._frame.where(chosen)), name2: self._next(self._frame.where(~chosen))}
        return DynamicFrameCollection(frames, self.glue_ctx)

    def spigot(self, path: str, options: Mapping[str, Any] | None = None, **_: Any) -> DynamicFrame:
        """Write some rows as JSON for a look at them; return the frame itself."""
        rows = self._frame
        if options and "prob" in options:
            rows = rows.sample(float(options["prob"]))
        if options and "topk" in options:
            rows = rows.limit(int(options["topk"]))
        rows.write.mode("append").json(path)
        return self

    # -- nested fields ---------------------------------------------------------------------------------------------

    def relationalize(
        self, root_table_name: str, staging_path: str | None = None, options: Any = None, **_: Any
    ) -> DynamicFrameCollection:
        """Return flat frames: the rows under the root's name, each array in a frame of its own."""
        flat = relational.relationalize(self._frame, root_table_name)
        frames = {name: DynamicFrame(frame, self.glue_ctx, name) for name, frame in flat.items()}
        return DynamicFrameCollection(frames, self.glue_ctx)

    def unnest(self, **_: Any) -> DynamicFrame:
        """Return the frame with the fields of structures as columns, named with dots."""
        return self._next(relational.flattened(self._frame), set())

    def unbox(self, path: str, format: str, **options: Any) -> DynamicFrame:
        """Read a column of JSON texts as a structure.

        Raises:
            NotImplementedError: of another format.

        """
        if format != "json":
            raise NotImplementedError(f"unbox: the format {format!r} is not available in local_aws, which reads json")
        texts = self._frame.select(paths.column([path]).alias("text")).where("text is not null")
        inferred = texts.sparkSession.read.json(texts.rdd.map(lambda row: row.text)).schema
        return self._next(self._frame.withColumn(path, F.from_json(paths.column([path]), inferred)))


def _listed(names: Iterable[str] | str) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _selected(frame: DataFrame, names: list[str]) -> DataFrame:
    tree: dict[str, Any] = {}
    for path in names:
        found = paths.resolve(frame, path)
        if found:
            paths.put(tree, found, paths.column(found))
    return frame.select(*paths.nested(tree))


_without = paths.without


def _mapping(mapping: tuple[str, ...]) -> tuple[str, str, str, str]:
    if len(mapping) == 4:
        return mapping
    if len(mapping) == 3:
        return mapping[0], "", mapping[1], mapping[2]
    if len(mapping) == 2:
        return mapping[0], "", mapping[1], ""
    raise ValueError(f"ApplyMapping: {mapping!r} is no (source, source type, target, target type)")


def _cast(value: Column, kind: str) -> Column:
    target = choices.sql_type(kind)
    return value.try_cast(target) if hasattr(value, "try_cast") else value.cast(target)


def _comparison(value: Column, sign: str, other: Any) -> Column:
    signs = {
        "=": value == other,
        "==": value == other,
        "!=": value != other,
        ">": value > other,
        "<": value < other,
        ">=": value >= other,
        "<=": value <= other,
    }
    if sign not in signs:
        raise ValueError(f"SplitRows: {sign!r} is none of {', '.join(signs)}")
    return signs[sign]


class DynamicFrameCollection:
    """Frames by name."""

    def __init__(self, dynamic_frames: Mapping[str, DynamicFrame], glue_ctx: Any) -> None:
        self._frames = dict(dynamic_frames)
        self.glue_ctx = glue_ctx

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._frames.keys()

    def values(self) -> Iterable[DynamicFrame]:
        """Return the frames."""
        return self._frames.values()

    def select(self, key: str, default_key: str | None = None) -> DynamicFrame:
        """Return a frame by its name."""
        return self._frames[key] if key in self._frames or default_key is None else self._frames[default_key]

    __getitem__ = select

    def __len__(self) -> int:
        return len(self._frames)

    def map(self, callable: Callable[..., Any], transformation_ctx: str = "") -> DynamicFrameCollection:
        """Return the collection of what a function makes of each frame."""
        frames = {name: callable(frame, transformation_ctx) for name, frame in self._frames.items()}
        return DynamicFrameCollection(frames, self.glue_ctx)


class DynamicFrameReader:
    """``create_dynamic_frame.from_catalog``, ``.from_options`` and ``.from_rdd``."""

    def __init__(self, glue_context: Any) -> None:
        self.from_catalog = glue_context.create_dynamic_frame_from_catalog
        self.from_options = glue_context.create_dynamic_frame_from_options
        self.from_rdd = glue_context.create_dynamic_frame_from_rdd


class DynamicFrameWriter:
    """``write_dynamic_frame.from_options`` and ``.from_catalog``; a JDBC connection has no database here."""

    def __init__(self, glue_context: Any) -> None:
        self.from_options = glue_context.write_dynamic_frame_from_options
        self.from_catalog = glue_context.write_dynamic_frame_from_catalog
        self._context = glue_context

    def from_jdbc_conf(self, *_: Any, **__: Any) -> DynamicFrame:
        """Refuse: there is no database behind a connection."""
        return self._context.write_dynamic_frame_from_jdbc_conf()
