"""The transforms of Glue scripts: ``ApplyMapping.apply(frame=..., mappings=...)`` and its kin, each one method of `DynamicFrame`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from awsglue.dynamicframe import DynamicFrame, DynamicFrameCollection


class GlueTransform:
    """What all transforms have in common: ``apply`` makes one and calls it."""

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Carry the transform out."""
        return cls()(*args, **kwargs)

    @classmethod
    def name(cls) -> str:
        """Return the transform's name."""
        return cls.__name__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Carry the transform out."""
        raise NotImplementedError(self.name())


class ApplyMapping(GlueTransform):
    """Fields with new names and types."""

    def __call__(self, frame: DynamicFrame, mappings: Any, case_sensitive: bool = False, **_: Any) -> DynamicFrame:
        """Return the mapped frame."""
        return frame.apply_mapping(mappings)


class ResolveChoice(GlueTransform):
    """One type for columns that have several."""

    def __call__(self, frame: DynamicFrame, specs: Any = None, choice: str = "", **options: Any) -> DynamicFrame:
        """Return the resolved frame."""
        return frame.resolveChoice(specs, choice, options.get("database"), options.get("table_name"))


class DropFields(GlueTransform):
    """Fewer fields."""

    def __call__(self, frame: DynamicFrame, paths: Any, **_: Any) -> DynamicFrame:
        """Return the frame without the fields."""
        return frame.drop_fields(paths)


class SelectFields(GlueTransform):
    """Some fields alone."""

    def __call__(self, frame: DynamicFrame, paths: Any, **_: Any) -> DynamicFrame:
        """Return the frame of these fields."""
        return frame.select_fields(paths)


class RenameField(GlueTransform):
    """Another name of a field."""

    def __call__(self, frame: DynamicFrame, old_name: str, new_name: str, **_: Any) -> DynamicFrame:
        """Return the frame with the new name."""
        return frame.rename_field(old_name, new_name)


class DropNullFields(GlueTransform):
    """No columns without a value."""

    def __call__(self, frame: DynamicFrame, **_: Any) -> DynamicFrame:
        """Return the frame without columns of nothing but null."""
        return frame.dropNullFields()


class DropDuplicates(GlueTransform):
    """Each row once."""

    def __call__(self, frame: DynamicFrame, columns: Any = None, **_: Any) -> DynamicFrame:
        """Return the frame without repetitions."""
        return frame.drop_duplicates(columns)


class Filter(GlueTransform):
    """Some rows."""

    def __call__(self, frame: DynamicFrame, f: Callable[[Any], bool], **_: Any) -> DynamicFrame:
        """Return the rows for which `f` is true."""
        return frame.filter(f)


class Map(GlueTransform):
    """A function of each record."""

    def __call__(self, frame: DynamicFrame, f: Callable[[Any], Any], **_: Any) -> DynamicFrame:
        """Return what `f` makes of the records."""
        return frame.map(f)


class FlatMap(GlueTransform):
    """A transform of each frame of a collection."""

    def __call__(
        self, dfc: DynamicFrameCollection, BaseTransform: Any, frame_name: str, **base_kwargs: Any
    ) -> DynamicFrameCollection:
        """Return the collection of the transformed frames."""
        names = list(dfc.keys())
        frames = {name: BaseTransform.apply(**{frame_name: dfc.select(name)}, **base_kwargs) for name in names}
        return DynamicFrameCollection(frames, dfc.glue_ctx)


class Join(GlueTransform):
    """Two frames by equal keys."""

    def __call__(
        self, frame1: DynamicFrame, frame2: DynamicFrame, keys1: list[str], keys2: list[str], **_: Any
    ) -> DynamicFrame:
        """Return the joined frame."""
        return frame1.join(keys1, keys2, frame2)


class Union(GlueTransform):
    """The rows of both frames."""

    def __call__(self, frame1: DynamicFrame, frame2: DynamicFrame, unionType: str = "ALL", **_: Any) -> DynamicFrame:
        """Return the rows of both, with ``DISTINCT`` each once."""
        both = frame1.union(frame2)
        return both.drop_duplicates() if unionType == "DISTINCT" else both


class Relationalize(GlueTransform):
    """Nested frames made flat."""

    def __call__(
        self, frame: DynamicFrame, staging_path: str | None = None, name: str = "roottable", **_: Any
    ) -> DynamicFrameCollection:
        """Return the flat frames."""
        return frame.relationalize(name, staging_path)


class UnnestFrame(GlueTransform):
    """Fields of structures as columns."""

    def __call__(self, frame: DynamicFrame, **_: Any) -> DynamicFrame:
        """Return the frame with them."""
        return frame.unnest()


class Unbox(GlueTransform):
    """A column of texts as structure."""

    def __call__(self, frame: DynamicFrame, path: str, format: str, **options: Any) -> DynamicFrame:
        """Return the frame with the structure."""
        return frame.unbox(path, format, **options)


class SplitFields(GlueTransform):
    """Two frames by fields."""

    def __call__(
        self, frame: DynamicFrame, paths: list[str], name1: str = "frame1", name2: str = "frame2", **_: Any
    ) -> DynamicFrameCollection:
        """Return both."""
        return frame.split_fields(paths, name1, name2)


class SplitRows(GlueTransform):
    """Two frames by rows."""

    def __call__(
        self, frame: DynamicFrame, comparison_dict: Any, name1: str = "frame1", name2: str = "frame2", **_: Any
    ) -> DynamicFrameCollection:
        """Return both."""
        return frame.split_rows(comparison_dict, name1, name2)


class SelectFromCollection(GlueTransform):
    """One frame of a collection."""

    def __call__(self, dfc: DynamicFrameCollection, key: str, **_: Any) -> DynamicFrame:
        """Return the frame by its name."""
        return dfc.select(key)


class Spigot(GlueTransform):
    """A look at some rows."""

    def __call__(self, frame: DynamicFrame, path: str, options: Any = None, **_: Any) -> DynamicFrame:
        """Write the rows; return the frame."""
        return frame.spigot(path, options)


class MergeDynamicFrame(GlueTransform):
    """Newer rows in the place of older ones."""

    def __call__(self, frame: DynamicFrame, stageFrame: DynamicFrame, primaryKeys: list[str], **_: Any) -> DynamicFrame:
        """Return the merged frame."""
        return frame.mergeDynamicFrame(stageFrame, primaryKeys)


class ErrorsAsDynamicFrame(GlueTransform):
    """The records that a transform could not take: none, for it would have failed."""

    def __call__(self, frame: DynamicFrame) -> DynamicFrame:
        """Return them."""
        return frame.errorsAsDynamicFrame()


#: What Glue has and local_aws has not.
_ABSENT = (
    "EvaluateDataQuality", "FillMissingValues", "FindIncrementalMatches", "FindMatches", "FormatPhoneNumber", "DetectSensitiveData",
    "EvaluateDataQualityMultiframe",
)  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    if name in _ABSENT:
        raise ImportError(f"the transform {name} is not available in local_aws")
    raise AttributeError(name)


__all__ = [name for name, kind in list(globals().items()) if isinstance(kind, type) and issubclass(kind, GlueTransform)]
