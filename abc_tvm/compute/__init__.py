"""TE compute definitions: what each kernel computes, without saying how it runs."""
