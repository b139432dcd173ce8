//! What the tools reach in place of the world: programs on the executor's `PATH` that print what was recorded, and a server that
//! answers it. The definitions of the tools stay as they are, so that Claude sees the same menu.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context as _, ensure};
use axum::{
    Json, Router,
    extract::{Path as Place, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::task::AbortHandle;

use super::recording::{Answer, Content, Recording};

/// The programs that tools of the recorded workflows start.
const PROGRAMS: [&str; 5] = ["df", "du", "tail", "ps", "flotilla"];

type Left = Arc<Mutex<BTreeMap<&'static str, VecDeque<Answer>>>>;

/// A world of one recording at a time.
#[derive(Debug)]
pub(super) struct Replay {
    folder: PathBuf,
    url: String,
    left: Left,
    serving: AbortHandle,
}

impl Replay {
    /// Puts the programs into a folder and starts the server.
    pub(super) async fn start(folder: &Path) -> anyhow::Result<Self> {
        let programs = folder.join("bin");
        fs::create_dir_all(&programs)
            .with_context(|| format!("cannot make {}", programs.display()))?;
        let folder = folder.canonicalize()?;
        for name in PROGRAMS {
            let path = programs.join(name);
            // `cat` is looked for on the rest of PATH.
            let script = format!("#!/bin/sh\nexec cat \"${{0%/bin/*}}/{name}\"\n");
            fs::write(&path, script)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
        let left = Left::default();
        let routes = Router::new()
            .route("/{what}", get(answer))
            .with_state(Arc::clone(&left));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let serving = tokio::spawn(axum::serve(listener, routes).into_future());
        Ok(Self {
            folder,
            url,
            left,
            serving: serving.abort_handle(),
        })
    }

    /// What leads an executor here.
    pub(super) fn environment(&self) -> anyhow::Result<[(&'static str, OsString); 5]> {
        let programs = self.folder.join("bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path);
        let path = std::env::join_paths([programs.clone()].into_iter().chain(path))?;
        Ok([
            ("PATH", path),
            ("FLOTILLA_BIN", programs.join("flotilla").into()),
            ("DEMO_DIR", Path::new("/srv").into()),
            ("DEMO_URL", self.url.clone().into()),
            ("BENCH_REPLAY_URL", self.url.clone().into()),
        ])
    }

    /// From now on, the tools say what was recorded there.
    pub(super) fn play(&self, recording: &Recording) -> anyhow::Result<()> {
        for (name, prints) in &recording.programs {
            fs::write(self.folder.join(name), prints)?;
        }
        let answers = recording.answers.iter();
        *locked(&self.left) = answers
            .map(|(what, answers)| (*what, answers.clone().into()))
            .collect();
        Ok(())
    }

    /// Whether every recorded answer was asked for.
    ///
    /// # Errors
    /// Some were not: the run took another way than the recorded one.
    pub(super) fn ensure_used_up(&self) -> anyhow::Result<()> {
        let left = locked(&self.left);
        let unused: Vec<_> = left
            .iter()
            .filter(|(_, answers)| !answers.is_empty())
            .collect();
        ensure!(unused.is_empty(), "nobody asked for {unused:?}");
        Ok(())
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.serving.abort();
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

async fn answer(State(left): State<Left>, Place(what): Place<String>) -> Response {
    let next = locked(&left)
        .get_mut(what.as_str())
        .and_then(VecDeque::pop_front);
    let Some(Answer { status, body }) = next else {
        return (StatusCode::NOT_FOUND, "nothing was recorded for this").into_response();
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match body {
        Content::Text(text) => (status, text).into_response(),
        Content::Json(value) => (status, Json(value)).into_response(),
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
