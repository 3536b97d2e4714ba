"""Events in: admission, the local log, Kafka, replay readers, the market simulator."""
