"""YAML as everybody here reads it: of a length that is read in a moment, and without aliases, by which 500 bytes become
gigabytes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import yaml

YAMLError = yaml.YAMLError
LONGEST = 256 * 1024  # characters: a hundred times a configuration; each takes some 400 bytes and 10 µs at worst


class _Plain(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, f"the alias *{event.anchor} is not followed", event.start_mark
            )
        return super().compose_node(parent, index)


class _Unique(_Plain):
    """Refuses a key given twice, too; plain YAML silently keeps the last. A key that YAML takes for a truth value, as
    `off` or `no`, is its word: a field or a host may be called so."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:bool":
                key_node.tag = "tag:yaml.org,2002:str"
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the name {key} is given twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def load(text: str, unique: bool = False) -> Any:
    """The value of a text. Raises `YAMLError` for all that cannot be read; `unique`: for a key given twice as well."""
    if len(text) > LONGEST:
        raise YAMLError(f"it has {len(text):,} characters, and {LONGEST:,} are read")
    try:
        return yaml.load(text, Loader=_Unique if unique else _Plain)
    except (ValueError, LookupError, AttributeError, RecursionError) as error:  # no date, no number, no end of brackets
        raise YAMLError(f"a value cannot be read: {error}") from None


def line_of(text: str, place: Sequence[str | int]) -> int:
    """The line, counted from 1, where a field of a text that `load` takes stands; of the nearest around it where it is
    missing."""
    node, line = yaml.compose(text, Loader=_Plain), 1
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = (node.value[part], node.value[part])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
