"""`python -m benchmarks` is `benchmarks.command`, and `python -m benchmarks gpu` is `benchmarks.gpu.command`.

Neither is imported before it runs: processes that measure import this file, too.
"""

import sys


def main() -> None:
    """Run the command that the first argument names."""
    if sys.argv[1:2] == ["gpu"]:
        from benchmarks.gpu import command as gpu

        sys.exit(gpu.main(sys.argv[2:]))
    from benchmarks import command

    command.main()


if __name__ == "__main__":
    main()
