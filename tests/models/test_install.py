"""Models of the reader's own: the template works as it says, and an upload is kept whole or not at all."""

from __future__ import annotations

import io
import re
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import timm
import torch
from pydantic import BaseModel

from models import install as installing
from models.card import ModelCard, read_card
from models.errors import ModelError, SightlineError
from models.handle import ModelHandle
from models.install import LIMITS, install, is_own, remove, template_zip
from models.io.limits import Limits
from models.types import Image, Modality
from models.weights import sha256_of
from tests.conftest import liven

MakeModel = Callable[..., Path]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> BinaryIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer


def packed(folder: Path) -> dict[str, bytes]:
    return {f"{folder.name}/{path.name}": path.read_bytes() for path in folder.iterdir()}


def refused(own: Path, files: list[tuple[str, BinaryIO]], taken: tuple[str, ...] = ()) -> str:
    """The one sentence; nothing may be left behind."""
    with pytest.raises(SightlineError) as error:
        install(files, own, taken)
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    assert not own.exists() or [path for path in own.rglob("*") if path.name != ".incoming"] == []
    return text


def test_the_template_becomes_a_model_that_scores_as_its_network(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(template_zip())) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "my-model"
    network = liven(timm.create_model("resnet18", pretrained=False, num_classes=2))
    torch.save({"state_dict": network.state_dict()}, folder / "checkpoint.pt")
    subprocess.run([sys.executable, "export.py", "checkpoint.pt"], cwd=folder, check=True)
    (folder / "checkpoint.pt").unlink()
    own = tmp_path / "own"
    card = install([("my-model.zip", zipped(packed(folder)))], own)
    assert card.folder == own / "my-model"
    assert {path.name for path in card.folder.iterdir()} == {"card.toml", "weights.safetensors", "README.md"}
    handle = ModelHandle.load(card)
    values = np.random.default_rng(0).random((3, 224, 224)).astype(np.float32)
    image = Image(values, "unit interval", Modality.DERMOSCOPY)
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (card.input.mean, card.input.std))
    with torch.inference_mode():
        expected = network((torch.from_numpy(image.display())[None] - mean) / std).numpy()[0]
    np.testing.assert_allclose(handle.predict([image])[0].logits, expected, atol=1e-4)


def tables(model: type[BaseModel], seen: set[str]) -> set[str]:
    """Names of all fields of a card, those of its tables included."""
    for name, field in model.model_fields.items():
        seen.add(name)
        for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(part, type) and issubclass(part, BaseModel):
                tables(part, seen)
    return seen


def test_the_template_names_every_field_of_a_card() -> None:
    text = (installing.TEMPLATE / "card.toml").read_text()
    named = set(re.findall(r"^(?:# )?\[*([a-z0-9_]+)(?:\]+| = )", text, re.MULTILINE))
    assert tables(ModelCard, set()) - {"folder", "center", "width"} <= named


def test_the_template_is_valid_with_every_optional_field_taken_up(tmp_path: Path) -> None:
    lines = (installing.TEMPLATE / "card.toml").read_text().splitlines()[1:]
    taken = [re.sub(r"^# (?=\[|\w+ = )", "", line) for line in lines]
    text = "\n".join(taken).replace('"..."', f'"{"0" * 64}"')
    text = text.replace('fit = "letterbox"', 'fit = "spacing"')
    (tmp_path / "card.toml").write_text(text)
    card = read_card(tmp_path)
    assert card.not_for
    assert card.published
    assert card.input.slices == 3
    with pytest.raises(tomllib.TOMLDecodeError):  # the prose is no field
        tomllib.loads("\n".join(line.removeprefix("# ") for line in lines) + "\nprose of the head")


def test_loose_files_and_an_evaluation_are_kept_privately(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model()
    own = tmp_path / "cache" / "models"
    card = install([(path.name, path.open("rb")) for path in folder.iterdir()], own)
    assert read_card(own / "tiny") == card
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    other = packed(make_model("other", id="other")) | {
        "other/evaluation/metrics.json": b'{"measures": []}',
        "other/run.py": b"raise SystemExit",
    }
    card = install([("other.zip", zipped(other))], own, {"tiny"})
    assert (card.folder / "evaluation" / "metrics.json").is_file()
    assert not (card.folder / "run.py").exists()


@pytest.mark.parametrize("name", ["../evil.toml", "/etc/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_a_member_that_leads_out_is_refused(make_model: MakeModel, tmp_path: Path, name: str) -> None:
    archive = zipped(packed(make_model()) | {name: b"x"})
    assert "leads out of it" in refused(tmp_path / "own", [("m.zip", archive)])
    assert not list(tmp_path.rglob("evil*"))


def test_a_link_is_refused(make_model: MakeModel, tmp_path: Path) -> None:
    buffer = zipped(packed(make_model()))
    with zipfile.ZipFile(buffer, "a") as archive:
        link = zipfile.ZipInfo("tiny/README.md")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "leads out of it" in refused(tmp_path / "own", [("m.zip", buffer)])


def test_bombs_are_refused(make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, members = tmp_path / "own", packed(make_model())
    bomb = zipped(members | {"tiny/zeros.safetensors": bytes(60_000_000)})
    assert "decompression bomb" in refused(own, [("m.zip", bomb)])
    many = zipped(members | {f"tiny/{index}": b"" for index in range(LIMITS.members)})
    assert "1000 files" in refused(own, [("m.zip", many)])
    monkeypatch.setattr(installing, "LIMITS", Limits(file_bytes=1000))
    assert "larger than the limit" in refused(own, [("m.zip", zipped(members))])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": {"file": "weights.safetensors", "sha256": "0" * 64}}, "does not match"),
        ({"weights": {"file": "card.toml", "sha256": "0" * 64}}, "card.toml"),
        ({"weights": {"file": "evaluation", "sha256": "0" * 64}}, "evaluation"),
        ({"task": "guess"}, "field task"),
        ({"classes": ["Alpha", "Beta"]}, "lists 2 names"),
        ({"target_layers": ["nowhere"]}, "no layer 'nowhere'"),
        ({"architecture": "timm:no_such_network"}, "no network 'no_such_network'"),
        ({"architecture_args": {"checkpoint_path": "x.pt"}}, "'checkpoint_path' is refused"),
        ({"architecture_args": {"output_stride": 7}}, "cannot be built"),
    ],
)
def test_what_a_folder_on_disk_is_refused_for(
    make_model: MakeModel, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    assert said in refused(tmp_path / "own", [("m.zip", zipped(packed(make_model(**changes))))])


def test_other_faults_are_one_sentence(make_model: MakeModel, tmp_path: Path) -> None:
    own, members = tmp_path / "own", packed(make_model())
    card, weights = members["tiny/card.toml"], members["tiny/weights.safetensors"]
    assert "no card.toml" in refused(own, [("m.zip", zipped({"weights.safetensors": weights}))])
    assert "2 card.toml" in refused(own, [("m.zip", zipped(members | {"b/card.toml": card}))])
    assert "missing" in refused(own, [("card.toml", io.BytesIO(card))])
    assert "no card.toml" in refused(own, [("notes.txt", io.BytesIO(b"hello"))])
    assert "pickled code" in refused(own, [("m.zip", zipped(members | {"tiny/model.PKL": b"x"}))])
    assert "taken by another model" in refused(own, [("m.zip", zipped(members))], ("tiny",))
    assert "metrics.json" in refused(own, [("m.zip", zipped(members | {"tiny/evaluation/metrics.json": b"[]"}))])
    stored = zipped(members, zipfile.ZIP_STORED)
    data = bytearray(stored.getvalue())  # type: ignore[attr-defined]
    data[data.index(weights) + 1000] ^= 255
    assert "damaged" in refused(own, [("m.zip", io.BytesIO(bytes(data)))])
    assert refused(own, [("m.zip", io.BytesIO(bytes(data[:-30])))])


def test_weights_with_pickled_code_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    folder = make_model(suffix=".pt")
    evil = folder / "weights.pt"
    torch.save({"state_dict": Path.touch}, evil)
    text = (folder / "card.toml").read_text()
    digest = installing.read_card(folder).weights.sha256
    (folder / "card.toml").write_text(text.replace(digest, sha256_of(evil)))
    assert "pickled code" in refused(tmp_path / "own", [("m.zip", zipped(packed(folder)))])


def test_only_an_own_model_is_removed(make_model: MakeModel, tmp_path: Path) -> None:
    folder, own = make_model(), tmp_path / "own"
    shipped = read_card(folder)
    card = install([("m.zip", zipped(packed(folder)))], own)
    assert is_own(card, own)
    assert not is_own(shipped, own)
    with pytest.raises(ModelError, match="was not added on this page"):
        remove(shipped, own)
    remove(card, own)
    assert not card.folder.exists()
    assert list((own / ".incoming").iterdir()) == []
    assert folder.is_dir()
