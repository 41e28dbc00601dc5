//! What the system tells a process: that it shall end, or look at its configuration.

use super::failure::Failure;

/// The signal of a file that grew beyond what `ulimit -f` allows. It would end the process; caught,
/// the write fails instead, and the store answers so.
#[cfg(unix)]
const SIGXFSZ: std::ffi::c_int = 25;

/// Signals that a service listens to.
#[derive(Debug)]
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    hang_up: tokio::signal::unix::Signal,
    #[cfg(unix)]
    _too_large: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens from now on; none of these ends the process by itself any more.
    #[cfg(unix)]
    pub(super) fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            _too_large: signal(SignalKind::from_raw(SIGXFSZ))?,
        })
    }

    /// Listens from now on.
    #[cfg(not(unix))]
    pub(super) fn listen() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits until the process shall end.
    #[cfg(unix)]
    pub(super) async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits until the process shall end.
    #[cfg(not(unix))]
    pub(super) async fn end(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the process shall look at its configuration.
    #[cfg(unix)]
    pub(super) async fn reload(&mut self) {
        self.hang_up.recv().await;
    }

    /// Waits until the process shall look at its configuration: here nobody can say so.
    #[cfg(not(unix))]
    pub(super) async fn reload(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// Waits until the process shall end.
pub(super) async fn end() -> Result<(), Failure> {
    Signals::listen()?.end().await;
    Ok(())
}
