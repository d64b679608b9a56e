"""Load class rules from the TOML files in `datasets/rules`, and match them with the classes of a data set by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from label_gen.errors import UsageError
from nnunet_ext.package_data import list_tables, read_table
from postproc.class_rules import ClassRule

__all__ = ["MatchedRules", "RuleSet", "list_rules", "load_rules", "match_rules"]

_KEYS = tuple(field.name for field in fields(ClassRule))


@dataclass(frozen=True)
class RuleSet:
    """The rules of a file.

    Attributes:
        name: What the set is called.
        rules: One per class; `touch` names another of them, or a class of the data set.
        description: One sentence about it.
    """

    name: str
    rules: tuple[ClassRule, ...]
    description: str = ""


@dataclass(frozen=True)
class MatchedRules:
    """Rules that speak of the classes of a data set.

    Attributes:
        rules: The rules that are used; `name` and `touch` are names of the data set.
        unused: Rules without a class.
        unruled: Classes without a rule.
    """

    rules: tuple[ClassRule, ...]
    unused: tuple[str, ...]
    unruled: tuple[str, ...]


def list_rules() -> tuple[str, ...]:
    """Return the names of the rule files that come with the project, sorted."""
    return list_tables("rules")


def load_rules(name: str | Path) -> RuleSet:
    """Load a rule file.

    Args:
        name: Name of a file that comes with the project, or a `.toml` file of the same layout.

    Returns:
        The rules.

    Raises:
        UsageError: There is no such file, it is no valid TOML, or an entry is missing or wrong.
    """
    file, table = read_table(name, kind="rules", noun="rule", error=UsageError)
    return _build(file, table)


def match_rules(
    rule_set: RuleSet, numbers: Mapping[str, int], classes: Mapping[str, str] | None = None
) -> MatchedRules:
    """Find the class of a data set that each rule is for.

    A rule is for the class that it is mapped to, else for the class of its name, unless another rule is mapped to that.
    Upper and lower case are the same.

    Args:
        rule_set: The rules.
        numbers: Class numbers of the data set by name; the background may be among them.
        classes: Names of classes of the data set, by name of the rule.

    Returns:
        The rules for the classes of the data set.

    Raises:
        UsageError: A mapped rule or class does not exist, a class is mapped twice, a rule demands contact with a class
            that the data set has not, or no rule has a class.
    """
    mapped = dict(classes or {})
    known_rules = ", ".join(rule.name for rule in rule_set.rules)
    known_classes = ", ".join(name for name, number in numbers.items() if number) or "none"
    found: dict[str, str] = {}
    for rule_name, class_name in mapped.items():
        if all(rule.name != rule_name for rule in rule_set.rules):
            raise UsageError(f"rules '{rule_set.name}' have none called '{rule_name}'; they have {known_rules}")
        if (own := _find(class_name, numbers)) is None:
            raise UsageError(f"the data set has no class '{class_name}' for rule '{rule_name}'; it has {known_classes}")
        if own in found.values():
            raise UsageError(f"class '{own}' gets two rules by --classes; leave '{rule_name}={class_name}' out")
        found[rule_name] = own
    for rule in rule_set.rules:
        own = _find(rule.name, numbers)
        if rule.name not in found and own is not None and own not in found.values():
            found[rule.name] = own
    if not found:
        raise UsageError(
            f"none of the rules '{rule_set.name}' ({known_rules}) has a class of its name; the data set has "
            f"{known_classes}: say which is which with --classes RULE=CLASS"
        )
    rules = []
    for rule in rule_set.rules:
        if rule.name in found:
            touch = None
            if rule.touch is not None and (touch := found.get(rule.touch) or _find(rule.touch, numbers)) is None:
                raise UsageError(
                    f"the rule for '{rule.name}' demands contact with '{rule.touch}', which the data set has not (it "
                    f"has {known_classes}); map it with --classes {rule.touch}=CLASS, or use a rule file of your own"
                )
            rules.append(replace(rule, name=found[rule.name], touch=touch))
    return MatchedRules(
        tuple(rules),
        tuple(rule.name for rule in rule_set.rules if rule.name not in found),
        tuple(name for name, number in numbers.items() if number and name not in found.values()),
    )


def _find(name: str, numbers: Mapping[str, int]) -> str | None:
    """Return the class of a name, as the data set writes it; the background is none."""
    names = [own for own, number in numbers.items() if number]
    same = [own for own in names if own == name] or [own for own in names if own.casefold() == name.casefold()]
    return same[0] if len(same) == 1 else None


def _build(file: str, table: Mapping[str, Any]) -> RuleSet:
    for key, kind in (("name", str), ("rules", list)):
        if not isinstance(table.get(key), kind) or not table[key]:
            what = "text" if kind is str else "tables headed [[rules]]"
            raise UsageError(f"rule file '{file}': '{key}' is {table.get(key)!r}; {what} is expected")
    _check_keys(file, "it", table, ("name", "description", "rules"))
    rules: list[ClassRule] = []
    for number, entry in enumerate(table["rules"], 1):
        where = f"[[rules]] number {number}"
        if not isinstance(entry, Mapping):
            raise UsageError(f"rule file '{file}': {where} is {entry!r}; a table headed [[rules]] is expected")
        _check_keys(file, where, entry, _KEYS)
        if "name" not in entry:
            raise UsageError(f"rule file '{file}': 'name' is missing in {where}; add the name of the class")
        try:
            rules.append(ClassRule(**entry))
        except UsageError as error:
            raise UsageError(f"rule file '{file}': {error}") from error
        if any(rule.name.casefold() == rules[-1].name.casefold() for rule in rules[:-1]):
            raise UsageError(f"rule file '{file}': there are two rules for class '{rules[-1].name}'; leave one out")
    return RuleSet(table["name"], tuple(rules), str(table.get("description", "")))


def _check_keys(file: str, where: str, table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = [key for key in table if key not in known]
    if unknown:
        raise UsageError(
            f"rule file '{file}': {where} has the unknown key '{unknown[0]}'; known are {', '.join(known)}"
        )
