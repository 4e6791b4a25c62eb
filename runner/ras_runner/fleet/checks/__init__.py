"""What ``ras-runner doctor`` looks at, by worker type."""
