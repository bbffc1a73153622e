"""python -m dsm_mlx.desktop: see `dsm_mlx.cli.captions`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.captions import main

    sys.exit(main())
