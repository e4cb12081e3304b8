"""Taking a compiled network to another machine: linkers, bundles, and the form in plain C."""
