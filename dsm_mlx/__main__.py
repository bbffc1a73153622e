"""python -m dsm_mlx: see `dsm_mlx.cli.about`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.about import main

    sys.exit(main())
