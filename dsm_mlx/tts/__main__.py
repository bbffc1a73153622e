"""python -m dsm_mlx.tts: see `dsm_mlx.cli.speak`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.speak import main

    sys.exit(main())
