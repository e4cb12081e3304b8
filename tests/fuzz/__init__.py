"""A fuzzer: random graphs, damaged models, artifacts and records; see ``__main__``.

====================  ============================================================================
``values``            a tensor under construction: its values, and how far rounding may move them
``onnx_node``         one node run by onnxruntime; what an operator does to rounding
``draft``             a graph that grows node by node; every node is tried before it is kept
``operators_*``       proposals of nodes, by kind; ``binarized`` those of binarized networks
``graphs``            graph number i of seed S
``judge``             compile, run, compare with onnxruntime
``reduce``            the smallest graph that still fails
``corrupt``, ``artifacts``, ``records``   damaged files
``workers``           processes with limits of time and memory
``findings``          groups by cause, cases on disk, the summary
====================  ============================================================================
"""
