"""A real Apache Kafka in KRaft mode, on the machine's JVM, for tests."""

from tests.support.kafka.broker import Broker, class_path, shared_broker

__all__ = ["Broker", "class_path", "shared_broker"]
