"""A vertex of a labelled DAG: an operation, its settings, the gene tags of its channels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from nasgen.genotypes import tags
from nasgen.genotypes.tags import Ranges

Value = int | float | str | bool


@dataclass(frozen=True)
class Vertex:
    """One operation. `params` are its settings, readable as attributes (`v.channels`, `v.kernel`).

    `channel_tags` are the gene tags of its own output channels, as ranges; empty for an operation
    that creates no channels (pooling, sum, concat, skip).
    """

    tag: int
    op: str
    params: tuple[tuple[str, Value], ...] = ()
    channel_tags: Ranges = ()

    def __getattr__(self, name: str) -> Any:
        # Read through __dict__: while a copy is being rebuilt the fields do not exist yet.
        for key, value in self.__dict__.get("params", ()):
            if key == name:
                return value
        raise AttributeError(f"a '{self.__dict__.get('op')}' vertex has no setting '{name}'")

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting or the default."""
        for key, value in self.params:
            if key == name:
                return value
        return default

    @property
    def label(self) -> tuple[str, tuple[tuple[str, Value], ...]]:
        """Operation and settings, without identity: what isomorphism compares."""
        return self.op, self.params

    @cached_property
    def label_text(self) -> str:
        """The label as JSON. Kept, because parents and children share their unchanged vertices."""
        return json.dumps(self.label)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, without what is empty."""
        data = self.node_json
        if self.channel_tags:
            data["channel_tags"] = [list(r) for r in self.channel_tags]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Vertex:
        """Read what `to_json` wrote; KeyError, TypeError or ValueError for other data."""
        return cls(
            integer(data["tag"]),
            str(data["op"]),
            sorted_params(data.get("params", {})),
            tuple((integer(s), integer(n)) for s, n in data.get("channel_tags", ())),
        )

    @property
    def node_json(self) -> dict[str, Any]:
        """JSON data of its node in an outline."""
        data: dict[str, Any] = {"tag": self.tag, "op": self.op}
        if self.params:
            data["params"] = dict(self.params)
        return data

    @cached_property
    def stored(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Its JSON and that of its node, to be read only. Kept, as `label_text` is."""
        node = self.node_json
        if not self.channel_tags:
            return node, node
        return {**node, "channel_tags": [list(r) for r in self.channel_tags]}, node

    @cached_property
    def is_final(self) -> bool:
        """Whether no tag of it is provisional. Kept, as `label_text` is."""
        return self.tag >= 0 and all(start >= 0 for start, _ in self.channel_tags)


def integer(value: Any) -> int:
    """Return an integer as it is; TypeError for anything else, truth values included."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected an integer, got {value!r}")
    return value


def with_final_tags(vertex: Vertex, root_seed: int, trial: int) -> Vertex:
    """Return the vertex with final tags; the vertex itself if they all are."""
    if vertex.is_final:
        return vertex
    minted = Vertex(
        tags.mint(vertex.tag, root_seed, trial),
        vertex.op,
        vertex.params,
        tuple((tags.mint(start, root_seed, trial), n) for start, n in vertex.channel_tags),
    )
    if "label_text" in vertex.__dict__:
        minted.__dict__["label_text"] = vertex.label_text
    return minted


def sorted_params(params: Mapping[str, Value]) -> tuple[tuple[str, Value], ...]:
    for name, value in params.items():
        if not isinstance(name, str) or not isinstance(value, int | float | str | bool):
            raise TypeError(
                f"setting {name!r} must be a number, text or truth value, got {value!r}"
            )
    return tuple(sorted(params.items()))
