"""Where the figures are served."""

import socket
from contextlib import closing
from pathlib import Path

from structlog.testing import capture_logs

from watcherd.daemon.reporting.exposure import _listeners
from watcherd.settings import MetricsSettings


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_what_cannot_be_served_costs_only_itself_and_is_named(tmp_path: Path) -> None:
    port, nowhere = free_port(), str(tmp_path / "none" / "metrics.sock")
    with capture_logs() as lines:
        (listener,) = _listeners(nowhere, MetricsSettings(port=port))
    with closing(listener):
        assert listener.getsockname() == ("127.0.0.1", port)
        assert [line["subject"] for line in lines] == [nowhere]

        path = str(tmp_path / "metrics.sock")
        with capture_logs() as lines:
            (other,) = _listeners(path, MetricsSettings(port=port))
        with closing(other):
            assert other.getsockname() == path
            assert [line["subject"] for line in lines] == [f"127.0.0.1:{port}"]
