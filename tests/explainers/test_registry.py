from __future__ import annotations

import pytest

from explainers import EXPLAINERS, get
from models.errors import ExplainError
from tests.explainers.support import smooth_net

ORDERS = {
    "grad-cam": 10,
    "grad-cam-plus-plus": 11,
    "layer-cam": 12,
    "eigen-cam": 13,
    "integrated-gradients": 20,
    "gradient-shap": 21,
    "saliency": 22,
    "smooth-grad": 23,
    "occlusion": 30,
}
CAMS = [name for name, order in ORDERS.items() if order < 20]


def test_the_promised_methods_are_registered_under_their_lasting_ids() -> None:
    assert {explainer.spec.id: explainer.spec.order for explainer in EXPLAINERS} == ORDERS
    assert all(get(name).spec.id == name for name in ORDERS)


def test_an_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExplainError, match=r"'guided-backprop'.*grad-cam"):
        get("guided-backprop")


@pytest.mark.parametrize("explainer", EXPLAINERS, ids=lambda explainer: explainer.spec.id)
def test_every_spec_is_complete(explainer) -> None:
    spec = explainer.spec
    assert 2 in spec.dims
    assert spec.paper
    assert spec.summary.endswith(".")
    params = spec.resolve({})
    assert spec.cost(params, (224, 224)) >= 1
    for param in spec.params:
        assert param.kind != "choice" or param.default in param.choices
        assert param.kind not in ("int", "float") or param.low <= param.default <= param.high


@pytest.mark.parametrize("method", CAMS)
def test_cams_support_only_networks_with_the_layer(method: str) -> None:
    net = smooth_net()
    assert get(method).supports(net, "second").ok
    for layer, reason in (("third", "no layer named 'third'"), ("", "needs a target layer")):
        support = get(method).supports(net, layer)
        assert not support.ok
        assert reason in support.reason
