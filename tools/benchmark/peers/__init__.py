"""Jobs (see jobs.py) in other libraries, each run by the Python that has its library:
`python -m benchmark.peers.NAME JOB`."""
