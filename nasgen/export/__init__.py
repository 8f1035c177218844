"""Networks without nasgen: source, weights, ONNX and torch.export, each compared with the original.

`folder.write` makes the folder of an export; `python`, `onnx` and `torch` are its formats.
`source` writes modules as source text, `subject` is what is exported, `card` the words about it,
`reading` reads a folder back.
"""
