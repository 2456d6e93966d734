"""Cards, weights and handles: what loads, what is refused, what is left behind."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import tomli_w
import torch
from safetensors.torch import save_file

from models.card import find_cards, read_card
from models.context import RunContext
from models.errors import Cancelled, DataError, ModelError
from models.handle import ModelHandle
from models.types import Image, Modality
from models.weights import load_into, read_tensors, sha256_of
from tests.conftest import card_fields

MakeModel = Callable[..., Path]


def grey(value: float = 100.0, modality: Modality = Modality.XRAY, shape: tuple[int, ...] = (1, 80, 60)) -> Image:
    values = np.full(shape, value, np.float32)
    values[..., 20:40, 20:30] = 200
    return Image(values, "stored value", modality)


def one_sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"classes": ["Alpha", "Alpha"]}, "twice"),
        ({"classes": []}, "classes"),
        ({"task": "guess"}, "task"),
        ({"architecture": "keras:VGG"}, "architecture"),
        ({"thresholds": {"values": {"Delta": 0.3}}}, "Delta"),
        ({"input": {"height": 64, "width": "wide", "modality": ["ct"]}}, "input.width"),
        ({"input": {"height": 64, "width": 64, "modality": ["sonar"]}}, "input.modality"),
        ({"weights": {"file": "../weights.pt", "sha256": "0" * 64}}, "weights.file"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_wrong_card_names_the_field(tmp_path: Path, changes: dict[str, object], field: str) -> None:
    fields = card_fields(weights={"file": "w.safetensors", "sha256": "0" * 64}) | changes
    (tmp_path / "card.toml").write_text(tomli_w.dumps(fields))
    with pytest.raises(ModelError) as error:
        read_card(tmp_path)
    assert field in one_sentence(error)


def test_broken_toml_and_a_missing_card(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no card\.toml"):
        read_card(tmp_path)
    (tmp_path / "card.toml").write_text("id = [")
    with pytest.raises(ModelError, match="not valid TOML"):
        read_card(tmp_path)


def test_a_wrong_folder_does_not_hide_the_others(make_model: MakeModel) -> None:
    good = make_model()
    bad = make_model("bad", id="Not Kebab")
    twin = make_model("twin")
    cards, faults = find_cards([good.parent])
    assert set(cards) == {"tiny"}
    assert set(faults) == {bad.name, twin.name} or set(faults) == {bad.name, good.name}


@pytest.mark.parametrize(("suffix", "prefix"), [(".safetensors", ""), (".pt", "module."), (".pth", "model.")])
def test_weights_formats_and_prefixes_give_the_same_network(make_model: MakeModel, suffix: str, prefix: str) -> None:
    plain = ModelHandle.load(read_card(make_model("plain")))
    other = ModelHandle.load(read_card(make_model("other", suffix=suffix, prefix=prefix)))
    assert np.array_equal(plain.predict([grey()])[0].logits, other.predict([grey()])[0].logits)


def test_a_wrong_digest_is_refused(make_model: MakeModel) -> None:
    folder = make_model(weights={"file": "weights.safetensors", "sha256": "0" * 64})
    with pytest.raises(ModelError, match=r"weights\.sha256 does not match"):
        ModelHandle.load(read_card(folder))


def test_a_wrong_class_count_names_the_field(make_model: MakeModel) -> None:
    with pytest.raises(ModelError, match=r"classes lists 3 names, but the weights in .* have 5 outputs"):
        ModelHandle.load(read_card(make_model(outputs=5)))


def test_a_missing_and_a_surplus_tensor_are_named(make_model: MakeModel) -> None:
    folder = make_model()
    tensors = read_tensors(folder / "weights.safetensors", sha256_of(folder / "weights.safetensors"))
    module = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=3)
    del tensors["conv_stem.weight"]
    with pytest.raises(ModelError, match=r"lacks 'conv_stem\.weight'"):
        load_into(module, tensors, 3, "w")
    with pytest.raises(ModelError, match="holds 'extra'"):
        load_into(module, module.state_dict() | {"extra": torch.zeros(1)}, 3, "w")


class _Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("never-run"),))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": _Code()}, tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(_Code()))
    for name in ("evil.pt", "plain.pt"):
        with pytest.raises(ModelError) as error:
            read_tensors(tmp_path / name, sha256_of(tmp_path / name))
        assert "pickled code" in one_sentence(error)
    assert not (tmp_path / "never-run").exists()


def test_an_empty_file_of_weights_is_refused(tmp_path: Path) -> None:
    save_file({}, tmp_path / "weights.safetensors")
    module = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=3)
    tensors = read_tensors(tmp_path / "weights.safetensors", sha256_of(tmp_path / "weights.safetensors"))
    with pytest.raises(ModelError, match="lacks"):
        load_into(module, tensors, 3, "weights.safetensors")


def test_a_truncated_file_is_one_sentence(make_model: MakeModel) -> None:
    path = make_model() / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError) as error:
        read_tensors(path, sha256_of(path))
    one_sentence(error)


@pytest.mark.parametrize(
    ("layers", "reason"), [(["nowhere"], "no layer 'nowhere'"), (["bn1.drop"], "ok"), (["blocks.4", ""], "no layer ''")]
)
def test_target_layers_are_tried(make_model: MakeModel, layers: list[str], reason: str) -> None:
    card = read_card(make_model(target_layers=layers))
    if reason == "ok":
        assert ModelHandle.load(card).dry_run.target_layers == tuple(layers)
        return
    with pytest.raises(ModelError, match=re.escape(reason)):
        ModelHandle.load(card)


def test_weights_that_are_not_finite_are_refused(make_model: MakeModel) -> None:
    card = read_card(make_model())
    module = timm.create_model("mobilenetv3_small_050", pretrained=False, num_classes=3)
    module.classifier.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        ModelHandle(card, module)


def test_scores_do_not_depend_on_the_batch(make_model: MakeModel) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    images = [grey(value) for value in (0.0, 50.0, 90.0, 120.0, 250.0)]
    together = handle.predict(images, batch_size=3)
    alone = [handle.predict([image])[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
        np.testing.assert_allclose(one.probabilities, 1 / (1 + np.exp(-one.logits)), atol=1e-6)


def test_the_wrong_kind_of_image_is_said(make_model: MakeModel) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    (right,), (wrong,), (unknown,) = (
        handle.predict([grey(modality=m)]) for m in (Modality.XRAY, Modality.MR, Modality.UNKNOWN)
    )
    assert right.warnings == ()
    assert "reads x-ray images; this one is MR" in wrong.warnings[0]
    assert "does not say what made it" in unknown.warnings[0]


def test_a_volume_needs_a_slice(make_model: MakeModel) -> None:
    with pytest.raises(DataError, match="needs one slice"):
        ModelHandle.load(read_card(make_model())).predict([grey(shape=(1, 4, 64, 64))])


def state_of(module: torch.nn.Module) -> list[object]:
    found: list[object] = [part.training for part in module.modules()]
    found += [(p.requires_grad, p.grad is None) for p in module.parameters()]
    found += [
        len(part._forward_hooks) + len(part._forward_pre_hooks) + len(part._backward_hooks) for part in module.modules()
    ]
    return found


@pytest.mark.parametrize("ending", ["success", "error", "cancel"])
def test_exclusive_leaves_the_module_as_it_was(make_model: MakeModel, ending: str) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    module = handle._module
    module.train()
    next(module.parameters()).requires_grad_(False)
    before = state_of(module)
    ctx = RunContext(total=2)

    def work() -> None:
        with handle.exclusive(ctx) as own:
            assert not own.training
            own.train()
            for parameter in own.parameters():
                parameter.requires_grad_(True)
            own(torch.zeros(1, 3, 64, 64)).sum().backward()
            if ending == "error":
                own.blocks.register_forward_hook(lambda *_: None)
                raise ValueError("planned")
            if ending == "cancel":
                ctx.cancel()
                own(torch.zeros(1, 3, 64, 64))

    expected = {"error": ValueError, "cancel": Cancelled}
    if ending in expected:
        with pytest.raises(expected[ending]):
            work()
    else:
        work()
    assert state_of(module) == before
    assert ctx.ticks == 1


def test_a_hook_left_behind_is_removed_and_reported(make_model: MakeModel) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    with pytest.raises(ModelError, match="left 1 hooks"), handle.exclusive(RunContext()) as module:
        module.register_forward_hook(lambda *_: None)
    assert not handle._module._forward_hooks


def test_a_clone_shares_nothing(make_model: MakeModel) -> None:
    handle = ModelHandle.load(read_card(make_model()))
    twin = handle.clone()
    before = handle.predict([grey()])[0].logits
    with torch.no_grad():
        next(twin._module.parameters()).zero_()
    assert np.array_equal(handle.predict([grey()])[0].logits, before)
