"""What holds for every method, whatever it computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explainers import EXPLAINERS, get
from models.context import RunContext
from models.errors import Cancelled, ExplainError
from models.types import Target
from tests.explainers.support import SIZE, explain, logit, prepared_input, resolved, smooth_net

METHODS = EXPLAINERS.ids()
CAMS = [name for name in METHODS if "layer" in {param.name for param in get(name).spec.params}]
STOCHASTIC = ["smooth-grad", "gradient-shap"]
CONTRAST = Target("class 0", 0, "contrast", "softmax", "class 2", 2)
PROBABILITY = Target("class 1", 1, "probability", "softmax")


def traces(module: nn.Module) -> list[object]:
    """Everything a method could leave on a network."""
    hooks = [len(getattr(part, kind)) for part in module.modules() for kind in vars(part) if kind.endswith("_hooks")]
    parameters = [(p.requires_grad, p.grad is None, p.sum().item()) for p in module.parameters()]
    return [sum(hooks), parameters, [part.training for part in module.modules()]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("target", [logit(1), PROBABILITY, CONTRAST], ids=lambda target: target.output)
def test_shape_dtype_sign_and_facts(method: str, target: Target) -> None:
    spec, prepared = get(method).spec, prepared_input()
    (found,) = explain(method, smooth_net(), prepared, target)
    assert found.values.shape in ((3, SIZE, SIZE), (1, SIZE, SIZE))
    assert (found.values.shape[0] == 3) == (spec.family == "gradient")
    assert found.values.dtype == np.float32
    assert found.values.flags.c_contiguous
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values) > 0
    assert found.signed is spec.signed
    assert spec.signed or found.values.min() >= 0
    assert (found.method, found.target, dict(found.params)) == (method, target, resolved(method))
    assert ("logit" in found.unit) == (target.output != "probability" and method != "eigen-cam")
    assert found.runtime_s > 0
    assert (found.native is not None) == (method in CAMS)


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_the_same_bytes_and_no_global_state_moves(method: str) -> None:
    net, prepared = smooth_net(), prepared_input()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    (first,) = explain(method, net, prepared, seed=3)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    torch.randn(5)
    (again,) = explain(method, net, prepared, seed=3)
    (other,) = explain(method, net, prepared, seed=4)
    assert first.values.tobytes() == again.values.tobytes()
    assert (first.values.tobytes() == other.values.tobytes()) == (method not in STOCHASTIC)


@pytest.mark.parametrize("method", METHODS)
def test_two_targets_at_once_equal_two_single_runs(method: str) -> None:
    net, prepared = smooth_net(), prepared_input()
    both = explain(method, net, prepared, logit(2), CONTRAST)
    for target, found in zip((logit(2), CONTRAST), both, strict=True):
        (single,) = explain(method, net, prepared, target)
        assert found.target == target
        assert found.values.tobytes() == single.values.tobytes()
        assert found.completeness_error == single.completeness_error
        assert found.facts == single.facts


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_after_success_and_the_input_is_untouched(method: str) -> None:
    net, prepared = smooth_net(), prepared_input()
    before, pixels = traces(net), prepared.tensor.clone()
    explain(method, net, prepared)
    assert traces(net) == before
    assert torch.equal(prepared.tensor, pixels)
    assert not prepared.tensor.requires_grad
    assert prepared.tensor.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_after_an_error_in_the_network(method: str) -> None:
    net, prepared = smooth_net(), prepared_input()

    def fail(*_: object) -> None:
        raise IndexError("out of range inside the network")

    failing = net.head.register_forward_pre_hook(fail)
    before = traces(net)
    with pytest.raises(IndexError, match="inside the network"):
        explain(method, net, prepared)
    assert traces(net) == before
    failing.remove()
    assert not prepared.tensor.requires_grad
    explain(method, net, prepared)


@pytest.mark.parametrize("method", METHODS)
def test_cancel_half_way_stops_at_the_next_forward_and_leaves_nothing(method: str) -> None:
    net, prepared, spec = smooth_net(), prepared_input(), get(method).spec
    total = spec.cost(resolved(method), prepared.grid_shape)
    forwards: list[float] = []

    def progress(done: float) -> None:
        forwards.append(done)
        if done >= 0.5:
            ctx.cancel()

    ctx, before = RunContext(total, progress), traces(net)
    with pytest.raises(Cancelled):
        explain(method, net, prepared, logit(0), logit(1), ctx=ctx)
    assert forwards[-1] - 0.5 < forwards[0] + 8 / total  # no pass after the one that came to the half
    assert all(done < 0.5 for done in forwards[:-1])
    assert traces(net) == before
    assert not prepared.tensor.requires_grad
    explain(method, net, prepared)


@pytest.mark.parametrize("method", METHODS)
def test_cancel_before_the_first_forward(method: str) -> None:
    net, ctx = smooth_net(), RunContext()
    ctx.cancel()
    before = traces(net)
    with pytest.raises(Cancelled):
        explain(method, net, prepared_input(), ctx=ctx)
    assert traces(net) == before
    assert ctx.ticks == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("targets", [1, 3])
def test_progress_rises_to_exactly_one(method: str, targets: int) -> None:
    prepared, seen = prepared_input(), []
    total = get(method).spec.cost(resolved(method), prepared.grid_shape)
    ctx = RunContext(total, seen.append)
    explain(method, smooth_net(), prepared, *(logit(index) for index in range(targets)), ctx=ctx)
    assert ctx.ticks == total
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_a_class_the_network_lacks_is_refused(method: str) -> None:
    net = smooth_net()
    before = traces(net)
    with pytest.raises(ExplainError, match="outputs 0 to 2"):
        explain(method, net, prepared_input(), logit(7))
    assert traces(net) == before


@pytest.mark.parametrize("method", METHODS)
def test_the_callers_gradient_mode_does_not_matter(method: str) -> None:
    net, prepared = smooth_net(), prepared_input()
    (expected,) = explain(method, net, prepared)
    with torch.no_grad():
        (found,) = explain(method, net, prepared)
    assert found.values.tobytes() == expected.values.tobytes()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", METHODS)
def test_no_warning_reaches_the_user(method: str) -> None:
    explain(method, smooth_net(), prepared_input())


class InPlace(nn.Module):
    """In-place activations everywhere, right after the layers that are explained."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(3, 4, 4, stride=4)
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(torch.relu_(self.second(image)).mean(dim=(2, 3)))


@pytest.mark.parametrize("method", METHODS)
def test_in_place_activations_change_nothing(method: str) -> None:
    class OutOfPlace(InPlace):
        def forward(self, image: Tensor) -> Tensor:
            return self.head(torch.relu(self.second(image)).mean(dim=(2, 3)))

    torch.manual_seed(0)
    plain, in_place, prepared = OutOfPlace().eval(), InPlace().eval(), prepared_input()
    in_place.load_state_dict(plain.state_dict())
    (expected,), (found,) = explain(method, plain, prepared), explain(method, in_place, prepared)
    np.testing.assert_allclose(found.values, expected.values, rtol=1e-5, atol=1e-7)
