//! `flotilla credentials DIR`: passwords for NATS and Redis, a user for each role, made once. Each role's folder has only what that
//! role may know, so each can be a volume or a secret of its own.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use flotilla_common::permissions::User;

/// Bytes of a password, before they are written as hex.
const PASSWORD_BYTES: usize = 24;
/// Where the servers of a NATS cluster talk to each other: nats-server's own choice.
const CLUSTER_PORT: u16 = 6222;
/// Who a replica is to the Redis that it follows.
const REPLICA: &str = "replica";

/// Make passwords and permissions for NATS and Redis, one user for each role
#[derive(Debug, clap::Args)]
pub(crate) struct Credentials {
    /// Folder for them: <DIR>/nats/users.conf and cluster.conf, <DIR>/redis/users.acl and replica.conf, <DIR>/<role>/nats_url and
    /// redis_url. What is there stays
    folder: PathBuf,
    /// Where NATS will be: host:port, several separated by commas
    #[arg(long, default_value = "nats:4222")]
    nats: String,
    /// Where Redis will be: host:port
    #[arg(long, default_value = "redis:6379")]
    redis: String,
    /// A subject that tools with the adapter `nats` ask, which executors may publish to; can be repeated
    #[arg(long)]
    executor_subject: Vec<String>,
    /// Makes the folders belong to this user and group, by number: who the containers run as
    #[arg(long, value_parser = owner)]
    owner: Option<(u32, u32)>,
    /// More folders that are to belong to them
    #[arg(long, requires = "owner")]
    hand_over: Vec<PathBuf>,
    /// Also a password for Grafana's `admin`: <DIR>/grafana/password
    #[arg(long)]
    grafana: bool,
}

fn owner(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once(':')
        .and_then(|(user, group)| Some((user.parse().ok()?, group.parse().ok()?)));
    parsed.ok_or_else(|| "it looks like 65532:65532".to_owned())
}

pub(crate) fn run(args: &Credentials) -> anyhow::Result<ExitCode> {
    let users = User::ALL
        .into_iter()
        .map(|user| Ok((user, user_password(args, user)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let subjects = &args.executor_subject;
    write(args, "nats", "users.conf", &nats(&users, subjects))?;
    // What the servers of a cluster, and Redis and its replica, say to each other.
    let cluster = password(args, "nats", "cluster_password")?;
    write(args, "nats", "cluster.conf", &routes(args, &cluster))?;
    let replica = password(args, "redis", "replica_password")?;
    let follows = format!("masteruser {REPLICA}\nmasterauth {replica}\n");
    write(args, "redis", "replica.conf", &follows)?;
    write(args, "redis", "users.acl", &redis(&users, &replica))?;
    if args.grafana {
        password(args, "grafana", "password")?;
    }
    for path in &args.hand_over {
        hand_over(path, args.owner)?;
    }
    println!(
        "credentials of {} users in {}",
        users.len(),
        args.folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// A user's password, and where NATS and Redis are with it.
fn user_password(args: &Credentials, user: User) -> anyhow::Result<String> {
    let name = user.name();
    let password = password(args, name, "password")?;
    let servers = args.nats.split(',');
    let nats: Vec<String> = servers
        .map(|server| format!("nats://{name}:{password}@{server}"))
        .collect();
    write(args, name, "nats_url", &nats.join(","))?;
    let redis = format!("redis://{name}:{password}@{}", args.redis);
    write(args, name, "redis_url", &redis)?;
    Ok(password)
}

/// The password in a file, the one that is there or a new one.
///
/// # Errors
/// The one that is there cannot be used.
fn password(args: &Credentials, folder: &str, file: &str) -> anyhow::Result<String> {
    let known = args.folder.join(folder).join(file);
    let there = match fs::read_to_string(&known) {
        Ok(there) => there.trim().to_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context(format!("cannot read {}", known.display())),
    };
    if !there.chars().all(fits) {
        bail!(
            "the password in {} has other characters than a to z, A to Z, 0 to 9 and -._~, which alone fit an address, NATS's \
configuration and Redis's list of users",
            known.display()
        );
    }
    let password = if there.is_empty() { fresh()? } else { there };
    write(args, folder, file, &password)?;
    Ok(password)
}

/// Whether a password may have it, which is written into addresses and configuration as it is.
fn fits(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-._~".contains(character)
}

/// Where the servers of a cluster find each other, and the user that they are to each other.
fn routes(args: &Credentials, password: &str) -> String {
    let servers = args.nats.split(',');
    let routes: Vec<String> = servers
        .map(|server| {
            let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
            format!("nats://cluster:{password}@{host}:{CLUSTER_PORT}")
        })
        .collect();
    format!(
        "authorization {{ user: cluster, password: {password:?}, timeout: 5 }}\nroutes: {routes:?}\n"
    )
}

fn fresh() -> anyhow::Result<String> {
    let mut bytes = [0; PASSWORD_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("cannot read random bytes from /dev/urandom")?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Into a text: it cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The users of nats-server, as its configuration file includes them.
fn nats(users: &[(User, String)], executor_subjects: &[String]) -> String {
    let list = |subjects: &[String]| {
        let quoted: Vec<String> = subjects.iter().map(|s| format!("{s:?}")).collect();
        quoted.join(", ")
    };
    let mut text = String::from("users: [\n");
    for (user, password) in users {
        let mut may = user.permissions();
        if *user == User::Executor {
            may.publish.extend(executor_subjects.iter().cloned());
        }
        let _ = write!(
            text,
            "  {{\n    user: {:?}, password: {password:?}\n    permissions: {{\n      publish: {{ allow: [{}], deny: [{}] }}\n      subscribe: {{ allow: [{}] }}\n    }}\n  }}\n",
            user.name(),
            list(&may.publish),
            list(&may.deny_publish),
            list(&may.subscribe),
        );
    }
    text.push_str("]\n");
    text
}

/// The users of redis-server: the roles have the keys of Flotilla, and nothing that changes the server. `info` tells a role whether
/// Redis was started anew.
fn redis(users: &[(User, String)], replica: &str) -> String {
    // Who may ask whether it lives, and nothing else.
    let mut text = String::from("user default off\nuser healthcheck on nopass -@all +ping\n");
    for (user, password) in users {
        let rights = match user {
            User::Operator => "~* &* +@all",
            User::Gateway | User::Planner | User::Executor => {
                "~flotilla:* &* +@all -@admin -@dangerous +info"
            }
        };
        let _ = writeln!(text, "user {} on >{password} {rights}", user.name());
    }
    let _ = writeln!(
        text,
        "user {REPLICA} on >{replica} -@all +psync +replconf +ping"
    );
    text
}

/// Writes a file that only its owner reads, whole or not at all.
fn write(args: &Credentials, folder: &str, name: &str, text: &str) -> anyhow::Result<()> {
    let folder = args.folder.join(folder);
    let at = |path: &Path| format!("cannot write {}", path.display());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .with_context(|| at(&folder))?;
    let (file, draft) = (folder.join(name), folder.join(format!(".{name}")));
    let mut options = OpenOptions::new();
    let mut open = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .with_context(|| at(&draft))?;
    open.write_all(text.as_bytes())
        .and_then(|()| open.sync_all())
        .with_context(|| at(&draft))?;
    hand_over(&draft, args.owner)?;
    fs::rename(&draft, &file).with_context(|| at(&file))?;
    hand_over(&folder, args.owner)
}

fn hand_over(path: &Path, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    let Some((user, group)) = owner else {
        return Ok(());
    };
    // Owner first: who owns it no more could not change the rest.
    if path.is_dir() {
        fs::set_permissions(path, Permissions::from_mode(0o700))
            .with_context(|| format!("cannot change {}", path.display()))?;
    }
    chown(path, Some(user), Some(group)).with_context(|| {
        format!(
            "cannot make {} belong to {user}:{group}; only root can",
            path.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &Path) -> Credentials {
        Credentials {
            folder: folder.to_owned(),
            nats: "n1:4222,n2:4222".into(),
            redis: "r:6379".into(),
            executor_subject: vec!["svc.>".into()],
            owner: None,
            hand_over: Vec::new(),
            grafana: true,
        }
    }

    #[test]
    fn each_role_is_given_its_own_password_and_keeps_it() {
        let folder = tempfile::tempdir().unwrap();
        run(&args(folder.path())).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let password = read("planner/password");
        assert_eq!(password.len(), 48);
        assert_ne!(password, read("executor/password"));
        assert_eq!(read("grafana/password").len(), 48);
        assert_eq!(
            read("planner/nats_url"),
            format!("nats://planner:{password}@n1:4222,nats://planner:{password}@n2:4222")
        );
        let users = read("nats/users.conf");
        assert!(users.contains(&password) && users.contains("\"svc.>\""));
        assert!(read("redis/users.acl").contains(&format!("user planner on >{password} ")));
        let cluster = read("nats/cluster.conf");
        assert!(
            cluster.contains("@n1:6222\", \"nats://cluster:"),
            "{cluster}"
        );
        assert!(!users.contains(&read("nats/cluster_password")));
        run(&args(folder.path())).unwrap();
        assert_eq!(read("planner/password"), password);
        assert_eq!(read("nats/cluster.conf"), cluster);
        assert_eq!(read("nats/users.conf"), users);
        let mode = |name: &str| {
            let found = fs::metadata(folder.path().join(name)).unwrap();
            found.permissions().mode() & 0o777
        };
        assert_eq!(
            (
                mode("planner"),
                mode("planner/password"),
                mode("nats/users.conf")
            ),
            (0o700, 0o600, 0o600)
        );
    }

    #[test]
    fn a_password_that_somebody_has_written_stays_or_is_refused_and_an_empty_one_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).join("password");
        for (name, text) in [("planner", "Own-1.2_3~\n"), ("executor", " \n")] {
            fs::create_dir(folder.path().join(name)).unwrap();
            fs::write(file(name), text).unwrap();
        }
        run(&args(folder.path())).unwrap();
        let read = |name: &str| fs::read_to_string(file(name)).unwrap();
        assert_eq!(
            (&*read("planner"), read("executor").len()),
            ("Own-1.2_3~", 48)
        );
        for wrong in ["a b", "a@b", "a\"b", "$2a$11$x", "a\nb", "\u{fc}"] {
            fs::write(file("gateway"), wrong).unwrap();
            let problem = run(&args(folder.path())).unwrap_err().to_string();
            assert!(problem.contains("gateway/password"), "{problem}");
            assert_eq!(read("gateway"), wrong);
        }
    }
}
