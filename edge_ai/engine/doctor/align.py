"""Which layer of the baseline each operator of a variant belongs to: by tensors, by names, else by the order of their types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Final

from edge_ai.engine.doctor.onnx_graph import DEQUANTIZE, QUANTIZE, Graph, Layer
from edge_ai.engine.doctor.taps import Tap, pair_tensors

#: With fewer layers found by name, converters have renamed everything, and the order of the layers' types has to tell.
LEAST_BY_NAME: Final = 0.3
_SUFFIX: Final = "_QuantizeLinear_Input"


def align(baseline: Graph, variant: Graph) -> tuple[dict[str, str], list[Tap]]:
    """Align two networks.

    Returns
    -------
    layers : dict
        For nodes of the variant, conversions among them, the layer of the baseline that they are part of.
    taps : list
        For each layer of the baseline, where the variant holds the same value.
    """
    taps = pair_tensors(baseline, variant)
    by_tensor = {tensor: layer.name for layer in baseline.layers for tensor in layer.tensors}
    by_name = {layer.name: layer for layer in baseline.layers}
    owner: dict[str, str] = {}
    for layer in variant.layers:
        owned = next((by_tensor[known] for name in layer.tensors if (known := plain(name)) in by_tensor), None)
        if owned is None and layer.name in by_name and by_name[layer.name].type == layer.type:
            owned = layer.name
        if owned is not None:
            owner[layer.name] = owned
    found = sum(tap.variant is not None for tap in taps)
    if taps and found < LEAST_BY_NAME * len(taps):
        order = by_order(baseline.layers, variant.layers)
        owner |= {theirs: ours for ours, theirs in order.items()}
        last = {layer.name: variant.flowing(layer.tensors[-1]) for layer in variant.layers}
        taps = [
            Tap(layer=tap.layer, baseline=tap.baseline, variant=tap.variant or last.get(order.get(tap.layer.name, "")))
            for tap in taps
        ]
    return owner | _conversions(variant, owner, by_tensor), taps


def by_order(baseline: Sequence[Layer], variant: Sequence[Layer]) -> dict[str, str]:
    """Pair layers by the longest common order of their types; for each of the baseline's names the variant's."""
    matcher = SequenceMatcher(None, [one.type for one in baseline], [one.type for one in variant], autojunk=False)
    return {
        baseline[block.a + place].name: variant[block.b + place].name
        for block in matcher.get_matching_blocks()
        for place in range(block.size)
    }


def plain(tensor: str) -> str:
    """Return what the float network calls a tensor."""
    return tensor.removesuffix(_SUFFIX)


def _conversions(variant: Graph, owner: Mapping[str, str], by_tensor: Mapping[str, str]) -> dict[str, str]:
    """Give each conversion to the layer whose value it converts, or whose weight it unpacks."""
    makers = {tensor: owner[layer.name] for layer in variant.layers if layer.name in owner for tensor in layer.tensors}
    found: dict[str, str] = {}
    for node in variant.nodes:
        if node.op_type not in QUANTIZE | DEQUANTIZE:
            continue
        tensor = variant.undone(node.output[0])
        reader = next((owner.get(one.name) for one in variant.readers.get(node.output[0], [])), None)
        layer = makers.get(tensor) or by_tensor.get(plain(tensor)) or reader
        if layer is not None:
            found[node.name] = layer
    return found
