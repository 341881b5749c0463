"""What a run has to do with its operating system: command lines, files, signals, logs, processes and devices."""
