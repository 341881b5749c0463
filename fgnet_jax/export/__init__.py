"""Networks for programs without this package: StableHLO, ONNX, and a student's ONNX of plain operators."""
