"""End-to-end benchmarks: hisock, its peers and floors, the same work in the same run.

Run with ``python -m bench.e2e quick`` from the root of the repository; see bench/README.md.
"""
