"""`python -m dsm_mlx.serve`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.serve import main

    sys.exit(main())
