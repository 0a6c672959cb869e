"""What a dataset says of itself, checked where it enters: info.json, rows of `meta/episodes`, tasks, our own labels.

Only the keys that are used are looked at; others may be of any kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, TypeVar

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from vga_policy.lerobot.errors import LeRobotError, quoted

MOST_FRAMES = 10_000_000  # of an episode: 11 days at 10 Hz
MOST_EPISODES = 10_000_000
MOST_FILES = 1_000_000
LONGEST = 1e7  # s, of a video file
LONGEST_TASK = 2000  # characters
WIDEST = 16_384  # pixels
LATEST_NS = 2**62  # the year 2116

WORD = re.compile(r"\w")
NO_TEXT = ("none", "nan", "null", "<na>")  # what a missing text becomes where it is written as one
PLACEHOLDERS = {"chunk_index", "file_index", "video_key"}
PLACEHOLDER_FORMAT = re.compile(r"(0?[1-9]?d)?")

Model = TypeVar("Model", bound=BaseModel)


def _number(value: Any) -> Any:
    if isinstance(value, bool | str | bytes):
        raise ValueError("should be a number")
    return value


def _template(value: str) -> str:
    for _, name, form, conversion in Formatter().parse(value):
        if name is not None and (
            name not in PLACEHOLDERS or conversion or not PLACEHOLDER_FORMAT.fullmatch(form or "")
        ):
            raise ValueError(f"should have no placeholders but {', '.join(sorted(PLACEHOLDERS))}")
    return value


# Whole numbers may come as floats: a column with one null in it becomes one in pandas.
Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Template = Annotated[str, Field(max_length=1000), AfterValidator(_template)]


class _Description(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False, extra="ignore")


class DatasetInfo(_Description):
    """meta/info.json. features: of a frame, by name, unchecked; see :meth:`LeRobotReader.feature`."""

    fps: Annotated[Real, Field(gt=0, le=1000)]
    features: dict[str, Any]
    data_path: Template
    video_path: Template | None = None
    total_episodes: Annotated[Whole, Field(ge=0, le=MOST_EPISODES)] | None = None


class FrameFeature(_Description):
    """One feature of a frame. names: of its numbers, or of the axes of its shape; None where nobody said."""

    dtype: str
    shape: Annotated[list[Annotated[Whole, Field(gt=0, le=MOST_FRAMES)]], Field(max_length=8)]
    names: Any = None
    info: dict[str, Any] | None = None

    @property
    def listed_names(self) -> list[Any] | None:
        """Its names; those that stand below one key, as in {"motors": […]}, without it."""
        names = self.names
        if isinstance(names, dict) and len(names) == 1:
            (names,) = names.values()
        return list(names) if isinstance(names, list) else None


class FilePlace(_Description):
    """In which file of a kind an episode lies."""

    chunk_index: Annotated[Whole, Field(ge=0, lt=MOST_FILES)]
    file_index: Annotated[Whole, Field(ge=0, lt=MOST_FILES)]


class VideoSpan(FilePlace):
    """Where an episode lies in a video: the file, and from when to when, s."""

    from_timestamp: Annotated[Real, Field(ge=0, le=LONGEST)]
    to_timestamp: Annotated[Real, Field(ge=0, le=LONGEST)]


class EpisodeIndex(_Description):
    """Which episode a row of `meta/episodes` is of."""

    episode_index: Annotated[Whole, Field(ge=0, lt=MOST_EPISODES)]


class EpisodeLength(_Description):
    """How many frames an episode has."""

    length: Annotated[Whole, Field(gt=0, le=MOST_FRAMES)]


class TaskRow(_Description):
    """A row of meta/tasks.parquet."""

    task_index: Annotated[Whole, Field(ge=0)]


class EpisodeLabel(_Description):
    """What `vga export` knew of an episode."""

    id: str | None = None
    task: str | None = None
    operator: str | None = None
    outcome: Literal["success", "failure", "discarded"] | None = None
    note: str | None = None
    seed: int | None = None
    started_ns: Annotated[int, Field(ge=0, lt=LATEST_NS)] | None = None


def checked(model: type[Model], data: Any, where: object, prefix: str = "") -> Model:
    """`data` as this model.

    Raises LeRobotError with one line: where, the key (after `prefix`), what is wrong with it, and what was found.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = (prefix + ".".join(map(str, first["loc"]))).rstrip(".")
        if first["type"] == "missing":
            raise LeRobotError(f"{where}: {key}: is missing: add it, or write the dataset anew") from None
        what = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        what = "should be a mapping" if first["type"] == "model_type" else what
        raise LeRobotError(f"{where}: {key}: {what} (found {quoted(first['input'])}): correct it") from None


def info(data: Mapping[str, Any], path: Path) -> DatasetInfo:
    """What info.json says. Raises LeRobotError for any other version than v3."""
    version = data.get("codebase_version")
    if not isinstance(version, str) or not version.startswith("v3."):
        found = version if isinstance(version, str) else quoted(version)
        raise LeRobotError(f"{path}: version {quoted(found)[1:-1]}, expected v3: convert it with LeRobot's scripts")
    return checked(DatasetInfo, data, path)


def task_column(table: pa.Table) -> str:
    """Which column of tasks.parquet has the texts: `task`, else the index that pandas wrote. Empty when none has."""
    names = table.column_names
    try:
        described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
    except (ValueError, KeyError, TypeError):
        described = []
    listed = described if isinstance(described, list) else []
    others = [name for name in names if name != "task_index"]
    likely = ["task", *(name for name in listed if isinstance(name, str) and name != "task_index"), "__index_level_0__"]
    return next((name for name in likely if name in names), others[0] if len(others) == 1 else "")


def instruction(text: Any) -> str:
    """A task's text. Raises ValueError saying what it is instead: it tells nobody what to do."""
    if not isinstance(text, str) or not WORD.search(text) or text.strip().lower() in NO_TEXT:
        raise ValueError(f"no instruction: the task is {quoted(text)}: write it into the dataset")
    if len(text) > LONGEST_TASK:
        raise ValueError(f"the task has {len(text)} characters, more than {LONGEST_TASK}: shorten it")
    return text
