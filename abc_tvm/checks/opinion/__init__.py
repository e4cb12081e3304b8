"""A second opinion on what the passes did, which shares no code with them.

For each layer on bits or bytes, from the ONNX graph as the frontend hands it to TVM's importer and
the Relax module after the pass ``encode``:

1. planes times scales are the weights that the graph stores, or the sums of those that it spells;
2. the step gives the value of the graph's own chain: at every threshold, one float below, one
   above, at atoms and at random points, for this reader;
3. codes, in bits or bytes, decode to the levels, pooled or not;
4. integer thresholds agree with the chain at all reachable sums.
"""

from __future__ import annotations

from abc_tvm.checks.opinion.opinion import Opinion, second_opinion

__all__ = ["Opinion", "second_opinion"]
