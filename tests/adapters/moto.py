"""A local AWS for tests: moto's server, which keeps what is put into it and answers over HTTP."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from typing import Any


class Moto:
    """CloudWatch and S3 on a free port, until `stop`."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from moto.server import ThreadedMotoServer

        self._server: Any = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        _, self.port = self._server.get_host_and_port()

    def client(self, service: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import boto3

        return boto3.client(service, region_name="eu-west-1", endpoint_url=f"http://127.0.0.1:{self.port}")

    def put(self, namespace: str, values: dict[str, float], **dimensions: str) -> None:
        """Put values of one moment, two minutes ago, into CloudWatch."""
        at = datetime.now(UTC) - timedelta(seconds=120)  # noqa: TID251  moto has no other clock
        named = [{"Name": key, "Value": said} for key, said in dimensions.items()]
        data = [
            {"MetricName": name, "Timestamp": at, "Value": value, "Dimensions": named} for name, value in values.items()
        ]
        client = self.client("cloudwatch")
        client.put_metric_data(Namespace=namespace, MetricData=data)
        client.close()

    def stop(self) -> None:
        self._server.stop()
