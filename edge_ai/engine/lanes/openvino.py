"""OpenVINO variants; see :mod:`edge_ai.engine.quantize.openvino`."""

from edge_ai.engine.quantize.openvino import ways as ways
