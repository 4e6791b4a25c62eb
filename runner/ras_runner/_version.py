"""The version of ras-runner, read by the build and by ``ras-runner --version``."""

__version__ = "0.1.0"
