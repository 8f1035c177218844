"""list, new, check, doctor: commands about names, configs, plug-ins and the installation."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasgen.cli.app import EXIT_BUG, EXIT_USER, Json, command, table_of
from nasgen.cli.output import dump

if TYPE_CHECKING:
    from nasgen import registry

OTHERS = ("networks", "priors", "designs", "presets")  # what is listed besides registered members
PLAIN = (int, float, str, tuple, list)  # defaults of options that can be shown


@command
def list_(
    group: Annotated[
        str | None, typer.Argument(help="Group: mutations, algorithms, presets, ...")
    ] = None,
    name: Annotated[str | None, typer.Argument(help="Member of the group to explain.")] = None,
    plugin: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE|MODULE", help="Python file or module to load first."),
    ] = None,
    json_: Json = False,
) -> None:
    """List operators, algorithms, layers, data sets, presets and so on, or explain one of them.

    `nasgen list` names the groups, `nasgen list algorithms` their members, and `nasgen list
    algorithms growth` explains one and lists its options.
    """
    from nasgen.registry.plugins import Scope, named

    with Scope.of(named(plugin or ())).active():
        _list(group, name, json_)


def _list(group: str | None, name: str | None, json_: bool) -> None:
    from nasgen import papers, registry
    from nasgen.genotypes import priors
    from nasgen.runs import designs
    from nasgen.search_spaces import networks

    if group is not None and name is not None:
        _explain(group, name, json_)
        return
    if group == "presets":
        rows = [
            {"name": n, "summary": papers.preset_summary(p)} for n, p in papers.presets().items()
        ]
    elif group == "networks":
        rows = [
            {"name": n, **{k: networks.read(n)[k] for k in ("summary", "reference")}}
            for n in networks.names()
        ]
    elif group == "priors":
        rows = [
            {"name": n, "summary": p.summary, "settings of space": _assigned(p.options)}
            for n, p in priors.NAMED.items()
        ]
    elif group == "designs":
        rows = [design.row() for design in designs.listed()]
    elif group is not None:
        _check_group(group)
        rows = [
            {"name": e.name, "summary": e.summary, "origin": e.origin, "reference": e.reference}
            for e in registry.described(group)
        ]
    else:
        rows = [
            {"name": g, "summary": ", ".join(registry.names(g))}
            for g in registry.GROUPS
            if registry.names(g)
        ]
        rows.append({"name": "networks", "summary": ", ".join(networks.names())})
        rows.append({"name": "priors", "summary": ", ".join(priors.NAMED)})
        rows.append({"name": "designs", "summary": f"of {', '.join(designs.spaces())}"})
        rows.append({"name": "presets", "summary": ", ".join(papers.presets())})
    if json_:
        for row in rows:
            dump(row)
        return
    columns = list(rows[0]) if rows else ["name", "summary"]
    table_of(group or "", columns, [[r[c] for c in columns] for r in rows])


def _assigned(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} = {json.dumps(value)}" for name, value in options.items())


def _check_group(group: str) -> None:
    """Raise UnknownNameError for a group that nothing is listed of."""
    from nasgen import registry
    from nasgen.errors import UnknownNameError, suggest

    groups = (*registry.GROUPS, *OTHERS)
    if group in groups:
        return
    meant = next((known for known in groups if group and group in known), group)
    hint = suggest(registry.FORMER.get(meant, meant), groups)
    raise UnknownNameError(f"there is no group '{group}'{hint} Groups: {', '.join(groups)}.")


def _explain(group: str, name: str, json_: bool) -> None:
    """Print what one member does, and the options that a config may give it."""
    from nasgen import papers, registry
    from nasgen.errors import UnknownNameError, suggest
    from nasgen.genotypes import priors
    from nasgen.runs import designs
    from nasgen.search_spaces import networks

    if group == "networks":
        if name not in networks.names():
            raise UnknownNameError(
                f"network '{name}' does not exist{suggest(name, networks.names())} "
                "See `nasgen list networks`."
            )
        dump({"name": name, **networks.read(name)})
        return
    if group == "priors":
        if (prior := priors.NAMED.get(name)) is None:
            raise UnknownNameError(
                f"prior '{name}' does not exist{suggest(name, priors.NAMED)} See `nasgen list "
                "priors`."
            )
        dump({"name": name, "summary": prior.summary, "section": "space", "options": prior.options})
        return
    if group == "designs":
        found = {design.name: design for design in designs.listed()}
        if name not in found:
            raise UnknownNameError(
                f"design '{name}' does not exist{suggest(name, found)} See `nasgen list designs`."
            )
        dump({**found[name].row(), "genotype": found[name].genotype.to_json()})
        return
    if group == "presets":
        text = papers.preset(name).read_text(encoding="utf-8")
        dump({"name": name, "config": text}) if json_ else print(text, end="")
        return
    _check_group(group)
    entry, text = registry.get(group, name), registry.documentation(group, name)
    section = registry.section(group, name)
    options = registry.options_of(registry.resolve(group, name)) if section else {}
    rows = [
        {
            "name": option,
            "type": _type_of(p),
            "default": p.default if isinstance(p.default, PLAIN) else None,
        }
        for option, p in options.items()
    ]
    facts = _facts(entry) if group in registry.PARENTS else {}
    if json_:
        about = {"name": name, "summary": entry.summary, "origin": entry.origin}
        about |= {"reference": entry.reference, "documentation": text, **facts}
        dump(about | ({"section": section, "options": rows} if section else {}))
        return
    print(f"{name}: {entry.summary} ({', '.join(filter(None, (entry.reference, entry.origin)))})")
    if facts:
        print(f"\n{_told(facts)}")
    print(f"\n{text}" if text else "")
    if rows:
        print()
        shown = [[r["name"], r["type"], "" if r["default"] is None else r["default"]] for r in rows]
        table_of(f"options in [{section}]", ["option", "type", "default"], shown)


def _facts(entry: registry.Entry) -> dict[str, Any]:
    """Return what an operator takes, where it runs and the kinds of genotypes that it accepts."""
    from nasgen import registry
    from nasgen.genotypes.kinds import accepted, varies

    wanted, kinds = accepted(entry), []
    for kind in registry.names("genotypes"):
        own = registry.resolve("genotypes", kind)
        if own.is_explicit and varies(wanted, own):
            kinds.append(kind)
    return {
        "parents": list(entry.arity),
        "runs_in": entry.runs_in,
        "scope": entry.scope,
        "requires": list(entry.requires),
        "genotypes": kinds,
    }


def _told(facts: Mapping[str, Any]) -> str:
    """Return the facts about an operator as sentences."""
    fewest, most = facts["parents"]
    n = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    called = {"network": "once for the whole network", "tensor": "once for each tensor"}
    where = (
        f"It runs in the worker, where the weights are, and is called {called[facts['scope']]}."
        if facts["runs_in"] == "worker"
        else "It runs in the driver, where candidates are made."
    )
    required = " and ".join(facts["requires"])
    needs = f"It requires the {required} of its parents. " if required else ""
    kinds = ", ".join(facts["genotypes"]) or "none that is known here"
    return (
        f"It takes {n} {'parent' if most == 1 else 'parents'}. {where} {needs}"
        f"Kinds of genotypes that it accepts: {kinds}."
    )


def _type_of(option: inspect.Parameter) -> str:
    given = "" if option.annotation is option.empty else option.annotation
    return given if isinstance(given, str) else inspect.formatannotation(given)


@command
def new(
    path: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Config file to create.")],
    preset: Annotated[str | None, typer.Option(help="Preset to start from.")] = None,
    json_: Json = False,
) -> None:
    """Write a config file that explains every setting. `nasgen list GROUP NAME` adds options."""
    from nasgen import papers
    from nasgen.errors import StoreError, typed
    from nasgen.settings.config import parse, read_toml
    from nasgen.settings.writing import to_toml

    tables = read_toml(papers.preset(preset)) if preset else {}
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(to_toml(parse(tables), comments=True))
    except FileExistsError:
        raise StoreError(f"{path} exists; choose another name, nothing was written.") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error.strerror or error}).") from None
    then = typed("search", path)
    dump({"config": str(path)}) if json_ else print(f"{path}: edit it, then {then}")


@command
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Config (.toml) or plug-in (.py).")],
    json_: Json = False,
) -> None:
    """Check a config or a plug-in file without running a search."""
    if file.suffix == ".toml":
        from nasgen.runs import reading, suspicious
        from nasgen.runs.trust import check_config
        from nasgen.settings.config import read_toml

        tables = read_toml(file)
        check_config(file, tables)
        warnings = suspicious.cautions(reading.resolved(tables, str(file)))
        if json_:
            dump({"file": str(file), "ok": True, "warnings": warnings})
            return
        print("\n".join([f"{file}: fine", *(f"warning: {text}" for text in warnings)]))
        return
    from nasgen.testing.check import check_file

    findings = check_file(file)
    if json_:
        for finding in findings:
            dump(finding.to_json())
    else:
        rows = [[f.group, f.name, f.verdict, f.n_checked] for f in findings]
        table_of("", ["group", "name", "verdict", "cases"], rows)
        for finding in findings:
            for line in finding.message.splitlines():
                print(f"{finding.name}: {line}")
    broken = any(f.verdict == "BROKEN" for f in findings)
    if not all(f.ok for f in findings):
        what = "breaks a contract" if broken else "has members that could not be checked"
        print(f"error: {file} {what}; see above.", file=sys.stderr)
        raise typer.Exit(EXIT_USER)


@command
def doctor(json_: Json = False) -> None:
    """Check the installation: versions, cores, devices, a very short training."""
    from nasgen.runs.doctor import examine

    findings = examine()
    if json_:
        dump(findings)
    else:
        table_of("", ["what", "found"], [[k, v] for k, v in findings.items()])
    if not findings["ok"]:
        raise typer.Exit(EXIT_BUG)
