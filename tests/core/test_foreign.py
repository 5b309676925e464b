"""The door for checkpoints of other projects, with a plugin of its own: a model whose weights somebody else has trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from synthkit._catalog import Catalog, Offered
from synthkit._run.checkpoint import load_component
from synthkit._stages.importing import find_importing, read_foreign, write_run
from synthkit._stages.pulling import importer_of, published
from synthkit.errors import CheckpointError, PluginError, UnknownName
from synthkit.foreign import Portable
from synthkit.interfaces import GenerativeModel, Kind, Offer
from synthkit.offers import check_offers

PLUGIN = '''
import torch
from torch import nn

from synthkit import hookimpl
from synthkit.config import PartConfig
from synthkit.errors import CheckpointError
from synthkit.foreign import Imported, Importer, Published
from synthkit.interfaces import GenerativeModel, Offer
from synthkit.specs import FeatureSpec

SPEC = FeatureSpec(sample_rate=8000, n_fft=256, hop_length=64, n_mels=4)


class LampConfig(PartConfig):
    """Nothing to set."""


class Lamp(GenerativeModel):
    """A level for each label and band."""

    def __init__(self, config, spec, labels):
        self.spec, self.labels = spec, labels
        self.levels = nn.Embedding(len(labels), spec.n_mels)

    @property
    def networks(self):
        return {"levels": self.levels}

    def generate(self, request, *, random=None, progress=None):
        places = torch.tensor([self.labels.index(label) for label in request.labels])
        with torch.no_grad():
            return self.levels(places)[..., None].expand(-1, -1, request.frames)


def read(foreign):
    table = foreign.weights.get("net.table")
    if table is None:
        raise CheckpointError(f"{foreign.file.name} has no net.table")
    names = foreign.beside("names.pt")
    labels = tuple(str(name) for name in names.notes.values())
    return Imported(lineage="a lamp", config=LampConfig(), spec=SPEC, networks={"levels": {"weight": table, "extra": table}},
                    labels=labels, step=foreign.notes["net.step"], remarks=("dim",))


IMPORTER = Importer(read=read, published=(Published(name="lamp-one", url="https://example.org/lamp.pt", summary="A lamp."),))


@hookimpl
def synthkit_components():
    """One model, and one whose importer is none."""
    offer = dict(kind="model", build=f"{__name__}:Lamp", config=f"{__name__}:LampConfig", summary="A lamp.")
    return [Offer(name="lamp", imports=f"{__name__}:IMPORTER", **offer), Offer(name="dark", imports=f"{__name__}:SPEC", **offer),
            Offer(name="gone", imports="nowhere:IMPORTER", **offer)]
'''


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    file = tmp_path / "lamp_plugin.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return Catalog.discover([file])


def lamp(catalog: Catalog, name: str = "lamp") -> Offered:
    return find_importing(name, catalog)


def test_a_foreign_model_becomes_a_run(catalog: Catalog, tmp_path: Path) -> None:
    table = torch.arange(8.0).reshape(2, 4)
    torch.save({"net": {"table": table, "step": 12}, "optimiser": [torch.ones(3), None]}, tmp_path / "lamp.pt")
    torch.save(["day", "night"], tmp_path / "names.pt")
    written = write_run(read_foreign(tmp_path / "lamp.pt"), lamp(catalog), catalog, tmp_path / "run", "CC0")
    assert (written.parameters, written.remarks) == (8, ("dim", "not used: extra"))
    checkpoint = written.run.newest("model")
    assert checkpoint is not None
    assert checkpoint.name == "step-0000012"
    component, meta = load_component(checkpoint, catalog)
    assert isinstance(component, GenerativeModel)
    assert (component.labels, meta["licence"], meta["imported"]) == (
        ("day", "night"),
        "CC0",
        {"file": "lamp.pt", "lineage": "a lamp"},
    )
    assert torch.equal(component.networks["levels"].state_dict()["weight"], table)
    assert not isinstance(component, Portable)
    assert "from: " in written.run.recipe_file.read_text(encoding="utf-8")


def test_weights_of_another_shape_leave_nothing_behind(catalog: Catalog, tmp_path: Path) -> None:
    torch.save({"net": {"table": torch.ones(3, 4), "step": 1}}, tmp_path / "lamp.pt")
    torch.save(["day", "night"], tmp_path / "names.pt")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        CheckpointError, match=r"\(a lamp\) do not fit:\n  levels: weight: \[3, 4\] there, \[2, 4\] here$"
    ):
        write_run(read_foreign(tmp_path / "lamp.pt"), lamp(catalog), catalog, tmp_path / "run", "")
    torch.save({"other": 1}, tmp_path / "lamp.pt")
    with pytest.raises(CheckpointError, match=r"lamp\.pt has no net\.table"):
        write_run(read_foreign(tmp_path / "lamp.pt"), lamp(catalog), catalog, tmp_path / "run", "")
    assert sorted(tmp_path.iterdir()) == before


def test_importers_that_are_none(catalog: Catalog) -> None:
    with pytest.raises(PluginError, match=r"model 'dark' .* is not a synthkit\.foreign\.Importer"):
        importer_of(lamp(catalog, "dark"))
    with pytest.raises(PluginError, match=r"model 'gone' .* cannot be imported: .*nowhere"):
        importer_of(lamp(catalog, "gone"))
    warnings: list[str] = []
    assert "lamp-one" in {it.name for it in published(catalog, warnings.append)}
    assert [text.split(" (")[0] for text in warnings] == [
        "the importer of model 'dark'",
        "the importer of model 'gone'",
    ]
    with pytest.raises(UnknownName, match="'griffin-lim' that takes checkpoints"):
        lamp(catalog, "griffin-lim")


@pytest.mark.parametrize(
    ("kind", "imports", "says"),
    [
        ("vocoder", "synthkit_hum", "imports of the vocoder 'hum' must be a string like"),
        ("metric", "synthkit_hum:IMPORTER", "only a vocoder, a model or a converter has weights to take"),
    ],
)
def test_offers_with_a_wrong_importer(kind: Kind, imports: str, says: str) -> None:
    offer = Offer(kind=kind, name="hum", build="hum:Hum", config="hum:Config", summary="Hums.", imports=imports)
    with pytest.raises(PluginError, match=says):
        check_offers([offer])
