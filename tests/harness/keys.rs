//! Users and passwords as `flotilla credentials` makes them: each role is somebody of its own to NATS and Redis, as in production.

use std::fs;
use std::path::{Path, PathBuf};

use crate::binary::run_flotilla;
use crate::wait::PATIENCE;

/// A folder of them.
#[derive(Debug, Clone)]
pub struct Keys(PathBuf);

impl Keys {
    /// Makes them.
    ///
    /// # Panics
    /// When they cannot be made.
    pub async fn make(folder: &Path) -> Self {
        let folder = folder.join("keys");
        let name = folder.to_str().expect("a scratch folder has a plain name");
        // What the reference's example of a service is asked on.
        let args = ["credentials", name, "--executor-subject", "flights.>"];
        let made = run_flotilla(&args, &[], PATIENCE).await;
        assert!(made.status.success(), "{}", made.output);
        Self(folder)
    }

    fn read(&self, file: &str) -> String {
        let file = self.0.join(file);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// For nats-server's configuration file. Who says no name is the operator: the test's own connection.
    pub fn nats_configuration(&self) -> String {
        let users = self.read("nats/users.conf");
        format!("no_auth_user: operator\nauthorization {{\n{users}}}\n")
    }

    /// Redis's users, in a file. Who says no name may do anything: the test's own connection.
    pub(crate) fn redis_users(&self) -> String {
        let users = self.read("redis/users.acl");
        let open = users.replace("user default off", "user default on nopass ~* &* +@all");
        assert_ne!(open, users, "the default user is off");
        let file = self.0.join("test.acl");
        fs::write(&file, open).expect("write the users");
        file.display().to_string()
    }

    /// Where NATS is, for one of its users.
    pub fn nats_url(&self, user: &str, port: u16) -> String {
        self.url(user, "nats_url", "nats:4222", port)
    }

    /// What a role is told of where NATS and Redis are.
    pub(crate) fn urls(&self, role: &str, nats: u16, redis: u16) -> [(String, String); 2] {
        let redis = self.url(role, "redis_url", "redis:6379", redis);
        [
            ("FLOTILLA_NATS_URL", self.nats_url(role, nats)),
            ("FLOTILLA_REDIS_URL", redis),
        ]
        .map(|(name, url)| (name.to_owned(), url))
    }

    /// What a file says, with where the server is in the place of its name.
    fn url(&self, user: &str, file: &str, named: &str, port: u16) -> String {
        let url = self.read(&format!("{user}/{file}"));
        assert!(url.ends_with(named), "{file} of {user}");
        url.replace(named, &format!("127.0.0.1:{port}"))
    }
}
