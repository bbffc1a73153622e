"""python -m dsm_mlx.chat: see `dsm_mlx.cli.chat`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.chat import main

    sys.exit(main())
