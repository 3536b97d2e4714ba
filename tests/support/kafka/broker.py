"""Start and stop one Kafka broker, which is its own controller."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.needs import need
from tests.support.ports import free_ports
from tests.support.watch import is_alive

_POM = Path(__file__).with_name("pom.xml")
_WATCH = Path(__file__).parents[1] / "watch.py"
_CACHE = Path(__file__).resolve().parents[3] / ".make" / "kafka"
_START_S = 60.0
_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    # A test broker lives for minutes: the second compiler would take a core from the tests.
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
log.dirs={folder}/data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
"""


def class_path() -> str:
    """Kafka's class path, resolved by Maven once and remembered beside the repository's other build results."""
    need(shutil.which("java") is not None, "java is not installed, which Kafka needs")
    kept = _CACHE / hashlib.sha256(_POM.read_bytes()).hexdigest()[:16]
    if kept.exists() and all(Path(jar).exists() for jar in kept.read_text().split(os.pathsep)):
        return kept.read_text()
    need(shutil.which("mvn") is not None, "mvn is not installed, which resolves Kafka's class path")
    _CACHE.mkdir(parents=True, exist_ok=True)
    output = _CACHE / f"resolving.{os.getpid()}"
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:build-classpath", f"-Dmdep.outputFile={output}"]
    resolved = subprocess.run(command, capture_output=True, text=True, check=False)
    need(resolved.returncode == 0, f"Maven cannot resolve Kafka: {resolved.stdout[-500:]}")
    output.replace(kept)
    return kept.read_text()


class Broker:
    """A broker with its files in `folder`. It ends with the process `owner`, or when it is stopped."""

    def __init__(self, folder: Path, *, owner: int | None = None) -> None:
        self._folder = folder
        self._owner = os.getpid() if owner is None else owner
        self._class_path = class_path()
        self._watch: subprocess.Popen[bytes] | None = None
        self.bootstrap = ""
        folder.mkdir(parents=True, exist_ok=True)
        self._choose_ports()
        self._run("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", str(self._config))

    @property
    def pid(self) -> int:
        """The process to end: it takes the broker with it."""
        assert self._watch is not None
        return self._watch.pid

    def start(self) -> None:
        """Start, and return once it answers."""
        java = self._java("kafka.Kafka", str(self._config))
        with self._output.open("ab") as output:
            self._watch = subprocess.Popen(
                [sys.executable, str(_WATCH), str(self._owner), *java],
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._watch.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Kafka did not start: {self._output.read_text()[-2_000:]}")

    def stop(self) -> None:
        """Kill it, as a machine that loses its power would."""
        if self._watch is not None:
            self._watch.terminate()
            self._watch.wait()
            self._watch = None

    @property
    def _config(self) -> Path:
        return self._folder / "server.properties"

    @property
    def _output(self) -> Path:
        return self._folder / "output.txt"

    def _choose_ports(self) -> None:
        port, controller_port = free_ports(2)
        self.bootstrap = f"127.0.0.1:{port}"
        self._config.write_text(_PROPERTIES.format(port=port, controller_port=controller_port, folder=self._folder))

    def _java(self, *arguments: str) -> list[str]:
        return ["java", *_JVM, "-cp", self._class_path, *arguments]

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(self._java(*arguments), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} failed: {done.stdout}{done.stderr}")

    def _answers(self) -> bool:
        try:
            AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0}).list_topics(timeout=0.5)
        except KafkaException:
            return False
        return True


def shared_broker(folder: Path, owner: int) -> str:
    """Bootstrap address of the one broker of a test run: the first process that asks starts it."""
    folder.mkdir(parents=True, exist_ok=True)
    address = folder / "address.json"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if address.exists():
            known = json.loads(address.read_text())
            if is_alive(known["pid"]):
                return str(known["bootstrap"])
        broker = Broker(folder / f"broker-{os.getpid()}", owner=owner)
        broker.start()
        address.write_text(json.dumps({"pid": broker.pid, "bootstrap": broker.bootstrap}))
        return broker.bootstrap
