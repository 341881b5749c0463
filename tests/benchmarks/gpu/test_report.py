"""Lines and tables of results that a GPU would have."""

from benchmarks.gpu import plan, report

PART = "inference-bfloat16-8"
OURS = {
    "part": PART, "network": plan.OURS, "status": "done", "seconds": 0.008, "alone": 0.01, "images_a_second": 1000.0,
    "gflop": 2400.0, "peak": 3e9, "compile_seconds": 40.0, "errors": {"heatmaps": 0.01, "scores": 1e-3},
    "profile": {
        "kernels": 600.0, "seconds": 0.0075,
        "largest": [
            {"name": "sm90", "operation": "custom-call.7", "calls": 2.0, "seconds": 0.003, "roofline_seconds": 0.0025}
        ],
    },
}  # fmt: skip
THEIRS = {"part": PART, "network": plan.BEST, "status": "done", "seconds": 0.016, "images_a_second": 500.0}
FAILED = {"part": PART, "network": plan.COMPILED, "status": "failed", "message": "RuntimeError: no"}
SKIPPED = {"part": "training-tf32-1", "network": plan.OURS, "status": "skipped", "message": "no time: 3 s were left"}
MACHINE = {
    "versions": {"jax": "0.11.2", "torch": "2.11.0"}, "processor": "a processor", "cores": 16,
    "devices": {"platform": "gpu", "kind": "NVIDIA H100"}, "time": "2026-11-27T10:00:00+00:00",
    "card": {"name": "NVIDIA H100 80GB HBM3", "driver": "580.159", "memory": "81559 MiB", "power": "700.00 W"},
}  # fmt: skip


def test_the_title_names_card_driver_versions_and_date():
    """The card as its own tool names it, or as JAX does."""
    expected = (
        "NVIDIA H100 80GB HBM3, driver 580.159, 81559 MiB, 700.00 W; 16 cores; 2026-11-27; jax 0.11.2, torch 2.11.0"
    )
    assert report.title(MACHINE) == expected
    assert report.title(MACHINE | {"card": None}).startswith("NVIDIA H100; 16 cores")


def test_the_table_has_a_row_for_what_was_measured():
    """How many times as long as ours a network takes, and no cell where something is not known."""
    heading, ours, theirs = report.table([OURS, THEIRS, FAILED, SKIPPED]).splitlines()
    assert heading.split()[:5] == ["part", "network", "ms", "alone", "images/s"]
    assert ours.split()[2:] == ["8.00", "10.00", "1000.0", "1.00", "300", "3.00", "40", "1.0e-02", "1.0e-03"]
    assert theirs.split()[-3:] == ["16.00", "500.0", "2.00"]


def test_kernels_are_listed_with_their_share():
    """Of all kernels' time, beside the roofline's, and how busy they keep the card."""
    title, _, kernel = report.profile(OURS).splitlines()
    assert title == f"{PART}: 600 kernels take 7.50 ms, 75% of a run alone"
    assert kernel.split() == ["3.000", "2.500", "40.0%", "2", "custom-call.7:", "sm90"]


def test_failures_and_gaps_are_named():
    """A wrong result is a failure, too; what there was no time for is none."""
    wrong = OURS | {"problem": "errors in float32 are heatmaps 2.0e-04"}
    assert report.failed([OURS, FAILED, SKIPPED, wrong]) == [
        f"{PART}, {plan.COMPILED}: RuntimeError: no",
        f"{PART}, {plan.OURS}: errors in float32 are heatmaps 2.0e-04",
    ]
    assert report.left_out([OURS, FAILED, SKIPPED]) == [f"training-tf32-1, {plan.OURS}: no time: 3 s were left"]
    line = report.line(OURS, 61.4)
    assert line.startswith(
        f"[  61 s] {PART}, {plan.OURS}: 8.00 ms, 1000.0 images/s; compiled in 40 s; errors: heatmaps"
    )
