"""Servers of a test run's own: a free port, a folder in /tmp, and an end by their own pid.

A server that is not installed fails the run, with a sentence that says what to install: a promise that was not
tested is not kept.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from .process import Process
from .wait import wait_for

HOST = "127.0.0.1"
START_SECONDS = 60.0
DEBIAN_POSTGRES = "/usr/lib/postgresql"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def find_program(name: str, package: str, folders: Iterable[str | Path] = ()) -> Path:
    """Where `name` is, on the path or in one of `folders`."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *map(str, folders)])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(
            f"{name} was not found, and the tests need a real one."
            f" Install it (Debian: apt-get install {package}), or run `make test`, which does."
        )
    return Path(found)


class Server(ABC):
    """A server process with a folder; `start` and `stop` as often as wanted, the data stays until the end."""

    name: str
    user: str | None = None  # who it runs as when we are root, where it refuses to be root
    ends_by = signal.SIGTERM

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.process: Process | None = None
        self.folder = Path(tempfile.mkdtemp(prefix=f"delayserver-{self.name}-"))
        self._uid = self._gid = None
        if self.user is not None and os.geteuid() == 0:
            account = pwd.getpwnam(self.user)
            self._uid, self._gid = account.pw_uid, account.pw_gid
            os.chown(self.folder, self._uid, self._gid)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} is not running"
        return self.process.pid

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """What to run, in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves."""

    def prepare(self) -> None:
        """Once, before the first start."""

    def start(self) -> None:
        """Start, and wait until it serves."""
        if not any(self.folder.iterdir()):
            self.prepare()
        self.process = self._spawn(self.command())
        try:
            wait_for(self._answers_or_ended, START_SECONDS, f"{self.name} to serve")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process}") from None
        assert self.process.running, f"{self.name} did not start:\n{self.process}"

    def _answers_or_ended(self) -> bool:
        assert self.process is not None
        return not self.process.running or self.answers()

    def stop(self) -> None:
        """End it as an operator would; the data stays."""
        if self.process is not None:
            self.process.end(self.ends_by)
            self.process = None

    def kill(self) -> None:
        """End it as a power cut would; the data that is on disk stays."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def remove(self) -> None:
        """End it, and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove()

    def _spawn(self, args: Sequence[str | Path]) -> Process:
        # It ends with the thread that started it, so even when the test run is killed: start it in the main thread.
        guard = shutil.which("setpriv")
        prefix = [guard, "--pdeathsig", "KILL"] if guard else []
        return Process([*prefix, *args], cwd=self.folder, user=self._uid, group=self._gid)

    def _run(self, *args: str | Path) -> None:
        """One command to its end, as the server's user."""
        done = subprocess.run(
            [str(arg) for arg in args],
            cwd=self.folder,
            user=self._uid,
            group=self._gid,
            extra_groups=None if self._uid is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"$ {args}\n{done.stdout}{done.stderr}"


class RedisServer(Server):
    """Redis, without persistence unless `aof` is asked for; `extra` are further options."""

    name = "redis"

    def __init__(self, *extra: str, aof: bool = False, port: int | None = None) -> None:
        super().__init__(port)
        self._options = (*extra, "--appendonly", "yes") if aof else extra

    @property
    def url(self) -> str:
        return f"redis://{self.address}/0"

    def command(self) -> Sequence[str | Path]:
        program = find_program("redis-server", "redis-server")
        fixed: list[str | Path] = ["--bind", HOST, "--port", str(self.port), "--save", "", "--dir", self.folder]
        return [program, *fixed, "--daemonize", "no", *self._options]

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def answers(self) -> bool:
        """PING over a bare socket: a test may have asked for a password."""
        try:
            with socket.create_connection((HOST, self.port), 1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


class SentinelServer(Server):
    """One Redis Sentinel, which promotes a replica of the Redis at `port_of_master` when that dies."""

    name = "sentinel"
    master = "main"

    def __init__(self, port_of_master: int) -> None:
        super().__init__()
        self._port_of_master = port_of_master

    def prepare(self) -> None:
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\n"
            f"bind {HOST}\n"
            f"dir {self.folder}\n"
            f"sentinel monitor {self.master} {HOST} {self._port_of_master} 1\n"
            f"sentinel down-after-milliseconds {self.master} 500\n"
            f"sentinel failover-timeout {self.master} 5000\n"
        )

    def command(self) -> Sequence[str | Path]:
        return [find_program("redis-server", "redis-server"), self.folder / "sentinel.conf", "--sentinel"]

    def answers(self) -> bool:
        with redis.Redis(HOST, self.port) as client:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

    @property
    def host(self) -> dict[str, Any]:
        """An entry of a channel layer's ``hosts``."""
        return {"sentinels": [[HOST, self.port]], "master_name": self.master, "socket_timeout": None}

    def sees_replica(self) -> bool:
        """Whether there is a replica that could be promoted."""
        with redis.Redis(HOST, self.port) as client:
            replicas: Any = client.sentinel_slaves(self.master)
        return any(one["flags"] == "slave" and one["master-link-status"] == "ok" for one in replicas)


class DatabaseServer(Server):
    """A database server with one database, ``delayserver``; `settings` is an entry of ``DATABASES``."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]: ...


class PostgresServer(DatabaseServer):
    name = "postgres"
    user = "postgres"
    ends_by = signal.SIGINT  # on SIGTERM it waits for its clients to go

    def _program(self, name: str) -> Path:
        versions = sorted(Path(DEBIAN_POSTGRES).glob("*/bin"), key=lambda path: float(path.parent.name))
        return find_program(name, "postgresql", reversed(versions))

    def prepare(self) -> None:
        who = ["--username", "delayserver", "--auth", "trust"]
        how = ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self._run(self._program("initdb"), "--pgdata", self.folder / "data", *who, *how)

    def command(self) -> Sequence[str | Path]:
        options = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": self.folder,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
        }
        args = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self.folder / "data", *args]

    def start(self) -> None:
        super().start()
        self._create_database()

    def answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(host=HOST, port=self.port, user="delayserver", dbname="postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_database(self) -> None:
        import psycopg

        with psycopg.connect(
            host=HOST, port=self.port, user="delayserver", dbname="postgres", autocommit=True
        ) as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'delayserver'").fetchone()
            if there is None:
                connection.execute("CREATE DATABASE delayserver")

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": HOST,
            "PORT": str(self.port),
            "USER": "delayserver",
            "NAME": "delayserver",
        }


class MariaDBServer(DatabaseServer):
    name = "mariadb"
    user = "mysql"

    def prepare(self) -> None:
        install = find_program("mariadb-install-db", "mariadb-server")
        fixed = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        self._run(install, *fixed, f"--datadir={self.folder / 'data'}")

    def command(self) -> Sequence[str | Path]:
        return [
            find_program("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={self.folder / 'data'}",
            f"--socket={self.folder / 'socket'}",
            f"--pid-file={self.folder / 'pid'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--character-set-server=utf8mb4",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-buffer-pool-size=64M",
            "--skip-name-resolve",
        ]

    def start(self) -> None:
        super().start()
        with self._connected() as connection:
            connection.query("CREATE DATABASE IF NOT EXISTS delayserver CHARACTER SET utf8mb4")

    def _connected(self) -> Any:
        from MySQLdb import connect  # type: ignore[import-untyped]

        return closing(connect(host=HOST, port=self.port, user="root"))

    def answers(self) -> bool:
        from MySQLdb import OperationalError

        try:
            with self._connected():
                return True
        except OperationalError:
            return False

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "ENGINE": "django.db.backends.mysql",
            "HOST": HOST,
            "PORT": str(self.port),
            "USER": "root",
            "NAME": "delayserver",
            "OPTIONS": {"charset": "utf8mb4"},
        }
