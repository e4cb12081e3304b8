"""Where candidates are built and measured: child processes, here and on devices."""
