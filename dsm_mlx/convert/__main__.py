"""python -m dsm_mlx.convert: see `dsm_mlx.cli.convert`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.convert import main

    sys.exit(main())
