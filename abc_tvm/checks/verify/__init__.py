"""``abc-tvm verify``: a compiled network beside onnxruntime."""
