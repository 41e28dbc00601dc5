//! The accept loop: no client can hold more than its share, and the end is orderly.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::error::HttpError;
use super::framing::{ClientStream, Seen};
use super::{Peer, ServerOptions};

/// The largest head. hyper answers 431 to a larger one.
const HEAD_BYTES: usize = 64 << 10;
/// The wait after an accept that failed because the machine is short of something.
const SHORTAGE: Duration = Duration::from_secs(1);
/// For how long, and how much, a client may go on sending after the last answer.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 1 << 20;

/// Serves a listener until `shutdown`, then lets requests that are under way end.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    options: ServerOptions,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(options.connections));
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        // Room first: whoever finds none waits in the backlog and costs no descriptor.
        let accepted = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accepted => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                after_failure(&error, &shutdown).await;
                continue;
            }
        };
        let client = Client {
            stream,
            peer,
            router: router.clone(),
            options,
            shutdown: shutdown.clone(),
            cut: cut.clone(),
        };
        connections.spawn(async move {
            client.serve().await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(options.grace, connections.wait()).await.is_err() {
        tracing::warn!("{} connections did not end in time and are cut", connections.len());
        cut.cancel();
        connections.wait().await;
    }
}

/// A client that went away is no reason to wait; a machine without descriptors is.
async fn after_failure(error: &io::Error, shutdown: &CancellationToken) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        return;
    }
    tracing::warn!("no connection can be accepted at the moment: {error}");
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(SHORTAGE) => {}
    }
}

struct Client {
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    options: ServerOptions,
    shutdown: CancellationToken,
    /// The end of all patience.
    cut: CancellationToken,
}

impl Client {
    async fn serve(self) {
        let Self { stream, peer, router, options, shutdown, cut } = self;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, "a connection ended at once: {error}");
            return;
        }
        let stream = ClientStream::new(stream, options.write_stall);
        let seen = stream.seen();
        let service = service_fn(move |request| {
            let (router, seen) = (router.clone(), Arc::clone(&seen));
            async move { Ok::<_, Infallible>(answer(router, request, peer, &seen).await) }
        });
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(options.head)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = shutdown.cancelled() => {
                std::pin::Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = cut.cancelled() => return,
                }
            }
        };
        match ended {
            Ok(()) => linger(connection.into_parts().io.into_inner(), &shutdown).await,
            Err(error) => tracing::debug!(%peer, "a connection ended early: {error}"),
        }
    }
}

/// Throws away what a client still sends after its last answer. To close over unread bytes resets the
/// connection, and the client might lose the answer (RFC 9112, section 9.6).
async fn linger(stream: ClientStream, shutdown: &CancellationToken) {
    let (mut rest, mut nowhere) = (stream.take(LINGER_BYTES), tokio::io::sink());
    let read = tokio::time::timeout(LINGER, tokio::io::copy(&mut rest, &mut nowhere));
    tokio::select! {
        // Whatever comes of it, the connection has ended.
        _ = read => {}
        () = shutdown.cancelled() => {}
    }
}

async fn answer(
    router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    seen: &Seen,
) -> Response {
    if seen.is_ambiguous() {
        return HttpError::AmbiguousLength.into_response();
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    let Ok(mut response) = router.oneshot(request).await;
    if seen.is_opaque() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
