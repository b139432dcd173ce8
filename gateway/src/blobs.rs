//! `GET /v1/runs/{id}/blobs/{blob}`: what is too large for a run's journal, streamed as it is. To a browser it is a file, whatever
//! it says that it is: nothing of it may act with the rights of the gateway's own pages.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Path, State, rejection::PathRejection},
    http::{
        HeaderName, StatusCode,
        header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    },
    response::{IntoResponse as _, Response},
};
use flotilla_common::{
    blob::BYTES,
    ids::{BlobId, IdError, RunId},
    io::{
        blobs::{BlobError, Blobs, Found},
        http::Problem,
    },
};
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use crate::{
    problem::{bad_request, unavailable},
    routes::App,
};

/// Blobs on their way out at once; more are told to come again.
const AT_ONCE: usize = 32;
/// Chunks that wait for one client.
const CHUNKS_WAITING: usize = 2;
/// How long the object store may take to say what there is.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may leave a chunk untaken.
const CLIENT_PATIENCE: Duration = Duration::from_secs(60);
const SHA256: HeaderName = HeaderName::from_static("x-content-sha256");

/// Hands blobs out.
#[derive(Debug)]
pub(crate) struct Outlet {
    blobs: Blobs,
    turns: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Outlet {
    pub(crate) fn new(blobs: Blobs, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            blobs,
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            tasks,
            stop,
        }
    }

    /// The content, sent by a task of its own, which ends when its client does not take it, or the gateway stops.
    fn body(&self, found: &Found, turn: OwnedSemaphorePermit) -> Body {
        let (out, taken) = mpsc::channel(CHUNKS_WAITING);
        let content = self.blobs.read(found);
        let sending = Box::pin(async move {
            let _turn = turn;
            let mut content = std::pin::pin!(content);
            while let Some(chunk) = content.next().await {
                let is_last = chunk.is_err();
                let sent = timeout(CLIENT_PATIENCE, out.send(chunk)).await;
                if is_last || !matches!(sent, Ok(Ok(()))) {
                    debug!("a blob was not handed out to its end");
                    return;
                }
            }
        });
        let stop = self.stop.clone();
        self.tasks
            .spawn(async move { stop.run_until_cancelled(sending).await });
        let chunks = stream::unfold(taken, |mut taken| async {
            taken.recv().await.map(|chunk| (chunk, taken))
        });
        Body::from_stream(chunks)
    }
}

/// A blob of a run, or of one that the run has its data from. An end before `Content-Length` says that it is damaged.
pub(crate) async fn get(
    State(app): State<Arc<App>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<Response, Problem> {
    let Path((run, id)) = path.map_err(|rejection| bad_request(rejection.body_text()))?;
    let wrong = |error: IdError| bad_request(error.to_string());
    let run: RunId = run.parse().map_err(wrong)?;
    let id: BlobId = id.parse().map_err(wrong)?;
    let outlet = &app.outlet;
    let turn = Arc::clone(&outlet.turns).try_acquire_owned();
    let turn = turn.map_err(|_| unavailable("too many blobs are being fetched; try again"))?;
    let found = timeout(PATIENCE, outlet.blobs.find_for(&run, &id)).await;
    let found = found.map_err(|_| unavailable("NATS does not answer in time; try again"))?;
    let Some(found) = found.map_err(|error| problem(&error))? else {
        let detail = format!("{run} has no blob {id}; blobs go some time after their run's end");
        return Err(Problem::new(StatusCode::NOT_FOUND, detail));
    };
    let headers = [
        (CONTENT_TYPE, BYTES.to_owned()),
        (CONTENT_LENGTH, found.blob.bytes.to_string()),
        (
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{id}\""),
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (SHA256, found.blob.sha256.clone()),
    ];
    Ok((headers, outlet.body(&found, turn)).into_response())
}

fn problem(error: &BlobError) -> Problem {
    match error {
        BlobError::Unavailable(_) => unavailable(error.to_string()),
        BlobError::Damaged { .. } | BlobError::TooLarge { .. } | BlobError::Source(_) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    }
}
