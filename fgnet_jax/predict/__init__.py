"""Prediction of AUs in images and videos: the command (`__main__`), and `Detector` for Python.

`detector` and `predictions` are what Python callers use. `network` runs the network on its devices, `pipeline` feeds it
with faces. The command's own parts: `request` checks the arguments, `run` carries them out, `outputs` opens and writes
the results (`result_table` with its `columns`, `heatmap_files`, `run_record`), and `batching` resumes a stopped run.
"""
