"""Telemetry: log events, metrics, and what the service manager is told."""
