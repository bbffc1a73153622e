"""python -m dsm_mlx.stt: see `dsm_mlx.cli.transcribe`."""

if __name__ == "__main__":
    import sys

    from dsm_mlx.cli.transcribe import main

    sys.exit(main())
