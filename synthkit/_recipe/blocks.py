"""One block of a recipe = one component: its name, or `use:` with settings, or `from:` a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from synthkit._catalog import Catalog
from synthkit._recipe.explain import ModelT, block_mark, shown, validated
from synthkit._recipe.model import Block, FromBlock, Origin, as_part
from synthkit._recipe.yaml import Entry, Items, Mark, Node, Scalar, Table, from_python
from synthkit.config import FeaturesConfig, PartConfig, expand
from synthkit.errors import ConfigError, Problem, SpecMismatch, SynthkitError, nearest
from synthkit.specs import FeatureSpec, conversion

if TYPE_CHECKING:
    from synthkit._recipe.from_run import Saved
    from synthkit.interfaces import Kind

_KIND_WORDS = {"features": "feature extractor", "dataset": "data set"}


class Checker:
    """Collects every problem of one recipe while its blocks are turned into configs."""

    def __init__(self, catalog: Catalog, check_files: bool) -> None:
        self.catalog = catalog
        self.problems: list[Problem] = []
        self._context = {"check_files": check_files}

    def report(self, mark: Mark, path: str, message: str, hint: str = "") -> None:
        """Note one problem."""
        self.problems.append(mark.problem(path, message, hint))

    def settings(
        self, model: type[ModelT], node: Node | None, where: Mark, path: str, extra_names: Sequence[str] = ()
    ) -> ModelT | None:
        """Settings of the core (`prepare`, `train` ...); the keys in `extra_names` are left to the caller."""
        if node is None:
            node = Table({}, where)
        if not isinstance(node, Table):
            self.report(node.mark, path, f"expected a mapping, got {shown(node)}")
            return None
        table = node.without(*extra_names)
        config, problems = validated(model, table, where, path, context=self._context, extra_names=extra_names)
        self.problems.extend(problems)
        return config

    def items(self, node: Node, path: str) -> tuple[Node, ...]:
        """The blocks of a list."""
        if isinstance(node, Items):
            return node.items
        self.report(node.mark, path, f"expected a list, got {shown(node)}", "write [name, ...]")
        return ()

    def component(
        self, kind: Kind, node: Node, where: Mark, path: str, *, default: str | None = None, may_be_from: bool = False
    ) -> Block | None:
        """The component that a block names, with its settings; None where something is wrong with it.

        Args:
            default: the component used where the block has settings but no `use:`.
            may_be_from: whether `from: RUN` may stand instead of `use:`.
        """
        if isinstance(node, Scalar) and isinstance(node.value, str):
            node = Table({"use": Entry(node.mark, node)}, node.mark)
        if not isinstance(node, Table):
            word = _KIND_WORDS.get(kind, kind)
            self.report(
                node.mark, path, f"expected a {word}, got {shown(node)}", "write its name, or a mapping with `use:`"
            )
            return None
        if "from" in node.entries and may_be_from:
            return self._from_run(kind, node, where, path)
        if "use" not in node.entries and default is not None:
            node = node.with_entry("use", Entry(where, Scalar(default, where)))
        name = self._name(kind, node, where, path, may_be_from)
        if name is None:
            return None
        return self._used(kind, name, node, where, path)

    def _name(self, kind: Kind, table: Table, where: Mark, path: str, may_be_from: bool) -> Scalar | None:
        ways = "`use:` or `from:`" if may_be_from else "`use:`"
        entry = table.entries.get("use")
        if entry is None:
            similar = [key for key in table.entries if nearest(key, ["use", "from"]).startswith("did you mean")]
            mark = table.entries[similar[0]].key if similar else where
            hint = f"{similar[0]!r} is not one of its keys" if similar else self.names(kind)
            self.report(mark, path, f"a required key is missing: {ways} says which component", hint)
            return None
        if isinstance(entry.value, Scalar) and isinstance(entry.value.value, str):
            return entry.value
        message = f"expected the name of a component, got {shown(entry.value)}"
        self.report(entry.value.mark, f"{path}.use", message, self.names(kind))
        return None

    def names(self, kind: Kind) -> str:
        """A hint that lists the components of a kind."""
        return nearest("", [offered.offer.name for offered in self.catalog.offers(kind)])

    def _used(self, kind: Kind, name: Scalar, table: Table, where: Mark, path: str) -> Block | None:
        try:
            offered = self.catalog.find(kind, str(name.value))
            model = self.catalog.config_class(offered)
        except SynthkitError as error:
            self.report(name.mark, f"{path}.use", str(error))
            return None
        found, problems = validated(model, table.without("use"), where, path, context=self._context)
        self.problems.extend(problems)
        return None if found is None else Block(kind=kind, offered=offered, config=found)

    def _from_run(self, kind: Kind, table: Table, where: Mark, path: str) -> Block | None:
        entry, changes = table.entries["from"], table.without("from")
        for key in changes.entries if kind == "features" else changes.entries.keys() & {"use"}:
            message = "cannot stand beside `from:`, which takes the component from the run"
            hint = "remove it, or write `use:` instead of `from:`"
            self.report(changes.entries[key].key, f"{path}.{key}", message, hint)
        written = self._from(entry, f"{path}.from", may_choose=kind != "features")
        if written is None:
            return None
        from synthkit._recipe.from_run import saved_features, saved_part

        mark = entry.value.mark
        try:
            folder = expand(Path(written.run))
            if kind == "features":
                return self._saved_block(kind, saved_features(folder), mark, path)
            saved = saved_part(folder, as_part(kind))
            block = self._saved_block(kind, saved, mark, path)
        except (SynthkitError, ValueError) as error:
            self.report(mark, f"{path}.from", str(error))
            return None
        changed = self._changed(block, changes.without("use"), mark, where, path) if block else None
        if changed is None:
            return None
        values = changed.config.model_dump(mode="json")
        origin = Origin(
            path=folder,
            strict=written.strict,
            optimisers=written.optimisers,
            changes={key: values[key] for key in changes.entries if key in values},
        )
        return replace(changed, origin=origin, spec=saved.spec)

    def _from(self, entry: Entry, path: str, *, may_choose: bool) -> FromBlock | None:
        """What is written after `from:`: a folder, or a mapping with choices."""
        node = entry.value
        if isinstance(node, Table) and may_choose:
            found, problems = validated(FromBlock, node, entry.key, path, context=self._context)
            self.problems.extend(problems)
            return found
        if isinstance(node, Scalar) and isinstance(node.value, str) and node.value:
            return FromBlock(run=node.value)
        self.report(node.mark, path, f"expected the folder of a run, got {shown(node)}")
        return None

    def _changed(self, block: Block, changes: Table, saved: Mark, where: Mark, path: str) -> Block | None:
        """The block with the settings that stand beside its `from:`."""
        if not changes.entries:
            return block
        whole = from_python(block.config.model_dump(mode="json"), saved)
        assert isinstance(whole, Table)
        for key, entry in changes.entries.items():
            whole = whole.with_entry(key, entry)
        config, problems = validated(type(block.config), whole, where, path, context=self._context)
        self.problems.extend(problems)
        return None if config is None else replace(block, config=config)

    def features_of_run(self, folder: Path, where: Mark) -> Block | None:
        """The features that a run's parts were made for, for a recipe that leaves `features:` out."""
        from synthkit._recipe.from_run import saved_features

        try:
            return self._saved_block("features", saved_features(folder), where, "features")
        except SynthkitError as error:
            self.report(where, "features", f"not written, and the run does not tell: {error}", "add `features:`")
            return None

    def _saved_block(self, kind: Kind, saved: Saved, mark: Mark, path: str) -> Block | None:
        offered = self.catalog.find(kind, saved.component)
        model = self.catalog.config_class(offered)
        try:
            config = model.model_validate(dict(saved.config), context={"check_files": False})
        except ValueError as error:
            message = f"the settings saved in {str(saved.file)!r} do not fit the installed {saved.component!r}: {error}"
            self.report(mark, path, " ".join(message.split()))
            return None
        return Block(kind=kind, offered=offered, config=config)

    def spec(self, features: Block, node: Node | None, where: Mark) -> FeatureSpec | None:
        """What the features mean."""
        if not isinstance(features.config, FeaturesConfig):
            name = features.offered.offer.name
            self.report(
                where, "features", f"the settings of {name!r} tell no spec, which those of every extractor must"
            )
            return None
        try:
            return features.config.spec()
        except ConfigError as error:
            self.report(block_mark(str(error), node or Table({}, where), where), "features", str(error))
            return None

    def fits(self, block: Block, spec: FeatureSpec, node: Node | None, where: Mark, path: str, *, given: str) -> None:
        """Note a problem where `block` cannot work with features of `spec`."""
        try:
            if block.spec is not None:
                conversion(spec, block.spec)
            if isinstance(block.config, PartConfig):
                block.config.check_spec(block.spec or spec)
        except SpecMismatch as error:
            fields = ", ".join(
                f"{name} is {a!r} in {given}, {b!r} in its run" for name, (a, b) in error.differences.items()
            )
            hint = "take these values, or leave `features:` out: then they come from the run, too"
            self.report(where, path, f"the features are not those it was trained on: {fields}", hint)
        except ConfigError as error:
            self.report(block_mark(str(error), node or Table({}, where), where), path, str(error))
