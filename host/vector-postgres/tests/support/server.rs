//! A real PostgreSQL with pgvector, started once for a test program on a free port, and stopped when the program ends.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::{fs::MetadataExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::LazyLock,
    thread,
    time::{Duration, Instant},
};

/// The folder `bin` of an installation; without it the one that `.ci/run` makes is looked for.
const VARIABLE: &str = "WAGGLE_POSTGRES_BIN";
const START_DEADLINE: Duration = Duration::from_secs(120);
/// `nobody` of Debian: PostgreSQL refuses to run as root.
const NOBODY: u32 = 65_534;

/// Initialises a server in `$1`/data and runs it until its standard input ends, which it does however the test program ends.
const SCRIPT: &str = r#"
cd "$1" || exit 1
export LD_LIBRARY_PATH="$2/../lib"
"$2"/initdb --pgdata="$1/data" --username=waggle --auth=trust --encoding=UTF8 --locale=C --no-sync >"$1/log" 2>&1 || exit 1
"$2"/postgres -D "$1/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
    -c max_connections=200 -c shared_buffers=32MB -c autovacuum=off >>"$1/log" 2>&1 &
server=$!
cat >/dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$1"
"#;

struct Running {
    port: u16,
    /// Kept, because its standard input is what keeps the server running.
    _shell: Child,
}

static RUNNING: LazyLock<Option<Running>> = LazyLock::new(|| installation().map(|bin| start(&bin)));

/// The address of the server; none if no PostgreSQL is installed here, which is told.
pub(crate) fn url() -> Option<String> {
    let Some(running) = RUNNING.as_ref() else {
        eprintln!(
            "SKIPPED: no PostgreSQL with pgvector; `.ci/run postgres` installs one, or name its `bin` in {VARIABLE}"
        );
        return None;
    };
    Some(format!("postgresql://waggle@127.0.0.1:{}/postgres?sslmode=disable", running.port))
}

fn installation() -> Option<PathBuf> {
    if let Some(named) = env::var_os(VARIABLE) {
        // Who names one wants it to be used: one that is not there is an error at the start.
        return Some(named.into());
    }
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci-tools/postgres/bin");
    made.join("postgres").exists().then_some(made)
}

fn start(bin: &Path) -> Running {
    let folder = tempfile::Builder::new().prefix("waggle-postgres-").tempdir().unwrap().keep();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("sh");
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let mut bin = fs::canonicalize(bin).unwrap();
    if is_root {
        // Where the installation is, only root may be allowed to look.
        let mut copying = Command::new("cp");
        let copied = copying.arg("-r").arg(bin.parent().unwrap()).arg(folder.join("installed"));
        assert!(copied.status().unwrap().success(), "the installation of PostgreSQL was not copied");
        bin = folder.join("installed/bin");
        let given = Command::new("chown").arg("-R").arg(format!("{NOBODY}:{NOBODY}")).arg(&folder).status();
        assert!(given.unwrap().success(), "{} was not given away", folder.display());
        command.uid(NOBODY).gid(NOBODY);
    }
    command.arg("-c").arg(SCRIPT).arg("postgres").arg(&folder).arg(&bin).arg(port.to_string());
    let mut shell = command.stdin(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + START_DEADLINE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
        assert!(shell.try_wait().unwrap().is_none(), "PostgreSQL ended: {}", log());
        assert!(Instant::now() < deadline, "PostgreSQL did not start in {START_DEADLINE:?}: {}", log());
        thread::sleep(Duration::from_millis(20));
    }
    Running { port, _shell: shell }
}
