"""A YAML file as plain data that remembers its lines and collects its faults; builds no objects of its choosing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from registry.errors import InvalidManifest

Where = tuple[str | int, ...]
"""The way to a field: keys of mappings and indices of lists."""

MAX_BYTES = 256 * 1024
"""A hundred variants fit into a tenth of it; pure-Python YAML reads about this much in a second or two."""

MAX_DEPTH = 16
"""A manifest needs six; PyYAML's time grows with the square of the depth."""

_SCALARS: dict[str, Callable[[str], Any]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: text.lower() == "true",
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
    "tag:yaml.org,2002:str": str,
}
FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|nan)$")


class _Loader(yaml.SafeLoader):
    """Tells scalars apart by YAML 1.2's core schema: `2e-5` is a number, `no` a word, `010` ten."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to configure a class


for _tag, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")),
    ("float", FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as something else."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))


def to_yaml(data: Any) -> str:
    """Plain data as YAML, keys in the order given."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class Source:
    """One file's data, where each part of it stands, and what is wrong with it.

    Raises InvalidManifest at once when the text cannot be read at all: not there, too large, no UTF-8, no YAML,
    nested too deeply, or with aliases, by which a small text can mean a huge document. A scalar that means nothing is
    a fault like any other, and None in the data.
    """

    def __init__(self, file: Path, kind: str = "manifest") -> None:
        """`kind` is what people call such a file."""
        self.file = file
        self.kind = kind
        self.texts: dict[Where, str] = {}
        """Each scalar as it was written."""
        self._lines: dict[Where, int] = {}
        self._unread: set[Where] = set()
        self._faults: list[tuple[int, str]] = []
        node = self._compose(file)
        self.data = self._plain(node, ()) if node else None

    def fault(self, where: Where, message: str) -> None:
        """Take down what is wrong with a field, to be raised with all the rest; of an unread one all is said."""
        if where in self._unread:
            return
        known = where
        while known and known not in self._lines:
            known = known[:-1]
        line = self._lines.get(known, 1)
        self._faults.append((line, f"{self.file}:{line}: {self.shown(where)}: {message}"))

    def shown(self, where: Where) -> str:
        """The way to a field as people write it: `task.inputs[0].shape`."""
        text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
        return text.removeprefix(".") or f"the {self.kind}"

    @property
    def fault_count(self) -> int:
        """How many faults were taken down so far."""
        return len(self._faults)

    def raise_faults(self) -> None:
        """Raise InvalidManifest with every fault in order of line, if there is one."""
        if self._faults:
            raise InvalidManifest([text for _, text in sorted(self._faults, key=lambda f: f[0])])

    def _compose(self, file: Path) -> yaml.Node | None:
        try:
            with file.open("rb") as opened:
                data = opened.read(MAX_BYTES + 1)
            if len(data) > MAX_BYTES:
                raise InvalidManifest(
                    [f"{file}: is larger than {MAX_BYTES // 1024} KiB; keep data in files of its own"]
                )
            text = data.decode()
            _refuse_bombs(file, text)
            return yaml.compose(text, Loader=_Loader)
        except OSError as error:
            raise InvalidManifest([f"{file}: cannot be read: {error.strerror}"]) from error
        except UnicodeDecodeError as error:
            raise InvalidManifest([f"{file}: is not UTF-8 text: byte {error.start} is wrong"]) from error
        except yaml.YAMLError as error:
            raise InvalidManifest([_syntax_fault(file, error)]) from error

    def _plain(self, node: yaml.Node, where: Where) -> Any:
        self._lines[where] = _line(node)
        if isinstance(node, yaml.MappingNode):
            return self._plain_mapping(node, where)
        if isinstance(node, yaml.SequenceNode):
            return [self._plain(child, (*where, i)) for i, child in enumerate(node.value)]
        self.texts[where] = node.value
        kind = _SCALARS.get(node.tag)
        try:
            if kind is not None:
                return kind(node.value)
            self.fault(where, f"{node.tag} is not used in a {self.kind}; write a plain text or number")
        except ValueError:
            self.fault(where, f"{node.value[:40]!r} is no number of a {self.kind}; write a plain one")
        self._unread.add(where)
        return None

    def _plain_mapping(self, node: yaml.MappingNode, where: Where) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            if key in data:
                self.fault((*where, key), f"stands here twice, on line {_line(key_node)} too; remove one")
                continue
            data[key] = self._plain(child, (*where, key))
            self._lines[(*where, key)] = _line(key_node)
        return data


def _refuse_bombs(file: Path, text: str) -> None:
    """Raise InvalidManifest at the first alias or at too deep a level, while the text is still a stream of events."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise InvalidManifest([f"{file}:{_line(event)}: has an alias (*{event.anchor}); write it out"])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise InvalidManifest([f"{file}:{_line(event)}: is nested deeper than {MAX_DEPTH} levels; flatten it"])


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark else 1


def _syntax_fault(file: Path, error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"{file}:{mark.line + 1}: is not YAML: {problem}" if mark else f"{file}: is not YAML: {problem}"
