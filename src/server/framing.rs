//! The stream of one client: sees what hyper does not show.
//!
//! Of `Content-Length` beside `Transfer-Encoding` hyper drops the first, in either order, before a
//! handler sees the request. Such a request is refused, because a proxy in front of us may have read
//! it the other way. So the heads are looked at on their way in. Nothing is held back or changed.
//!
//! A client that does not take its answer is let go as well: hyper would wait for it for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// How much of a line is looked at: the two names and any length fit.
const LINE_BYTES: usize = 96;

/// What was seen of a connection's requests so far.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ambiguous: AtomicBool,
    opaque: AtomicBool,
}

impl Seen {
    /// True once a request came with both lengths.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.ambiguous.load(Ordering::Relaxed)
    }

    /// True once it is not known where the next head begins: the connection has to end.
    pub(super) fn is_opaque(&self) -> bool {
        self.opaque.load(Ordering::Relaxed)
    }
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct ClientStream {
    inner: TcpStream,
    heads: Heads,
    /// How long a write may stand still.
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    /// Wraps a new connection.
    pub(super) fn new(inner: TcpStream, stall: Duration) -> Self {
        Self { inner, heads: Heads::default(), stall, stalled: None }
    }

    /// What is seen of its requests, from now on.
    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.heads.seen)
    }

    /// Passes the result of a write on, unless writes have stood still for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stall = self.stall;
        let timer =
            self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        self.heads.look_at(buf.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Follows the bytes of a connection from head to head. It judges no more than it must: whatever
/// else is wrong with a head, hyper refuses it and ends the connection.
#[derive(Debug, Default)]
struct Heads {
    place: Place,
    head: Head,
    /// The beginning of the current line.
    line: Vec<u8>,
    seen: Arc<Seen>,
}

/// Where the next byte belongs.
#[derive(Debug, Default)]
enum Place {
    /// To a head.
    #[default]
    Head,
    /// To a body of which so many bytes are left.
    Body(u64),
    /// Nobody knows.
    Unknown,
}

/// What the current head said so far.
#[derive(Debug, Default)]
struct Head {
    has_request_line: bool,
    length: Option<u64>,
    is_encoded: bool,
}

impl Heads {
    fn look_at(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.place {
                Place::Head => self.take_line(bytes),
                Place::Body(left) => self.skip(bytes, left),
                Place::Unknown => return,
            };
        }
    }

    /// Takes bytes up to the end of the line; answers the others.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (line, rest) = match end.and_then(|end| bytes.split_at_checked(end + 1)) {
            Some((line, rest)) => (line, rest),
            None => (bytes, &[][..]),
        };
        let room = LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend(line.iter().take(room));
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            self.end_of_line(line.trim_ascii_end());
            self.line = line;
            self.line.clear();
        }
        rest
    }

    fn end_of_line(&mut self, line: &[u8]) {
        let head = &mut self.head;
        if line.is_empty() {
            // Empty lines before a request are skipped, as hyper does.
            if head.has_request_line {
                self.end_of_head();
            }
            return;
        }
        if !head.has_request_line {
            head.has_request_line = true;
            return;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            head.is_encoded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            // hyper refuses what is no number, and numbers that differ.
            head.length = head.length.or(length).or(Some(0));
        }
    }

    fn end_of_head(&mut self) {
        let Head { length, is_encoded, .. } = std::mem::take(&mut self.head);
        self.place = match length {
            _ if is_encoded => Place::Unknown,
            Some(length) if length > 0 => Place::Body(length),
            _ => Place::Head,
        };
        if is_encoded {
            self.seen.opaque.store(true, Ordering::Relaxed);
        }
        if is_encoded && length.is_some() {
            self.seen.ambiguous.store(true, Ordering::Relaxed);
        }
    }

    /// Takes bytes of a body; answers the others.
    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64) -> &'a [u8] {
        let skipped = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - skipped as u64;
        self.place = if left == 0 { Place::Head } else { Place::Body(left) };
        bytes.get(skipped..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// (ambiguous, opaque) after these bytes, which come in pieces of `size`.
    fn seen(bytes: &[u8], size: usize) -> (bool, bool) {
        let mut heads = Heads::default();
        for piece in bytes.chunks(size) {
            heads.look_at(piece);
        }
        (heads.seen.is_ambiguous(), heads.seen.is_opaque())
    }

    const BOTH: &str = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    const INNOCENT: &str = "POST / HTTP/1.1\r\nContent-Length: 49\r\n\r\n";

    proptest! {
        /// INVARIANT: what is seen does not depend on how the bytes are cut.
        #[test]
        fn both_lengths_are_seen_however_the_bytes_are_cut(size in 1usize..200) {
            let case = |text: String, expected| {
                assert_eq!(seen(text.as_bytes(), size), expected, "{text:?}");
            };
            case(format!("POST / HTTP/1.1\r\n{BOTH}\r\n0\r\n\r\n"), (true, true));
            case("POST / HTTP/1.1\nTRANSFER-ENCODING:chunked\ncontent-length:0\n\n".into(), (true, true));
            case("\r\nPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".into(), (false, true));
            case(format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", BOTH.replace("\r\n", " ").repeat(20)), (false, false));
            // The same text in a body is only text.
            case(format!("{INNOCENT}{BOTH}\r\nGET / HTTP/1.1\r\n\r\n"), (false, false));
            case(format!("{INNOCENT}{}GET / HTTP/1.1\r\n{BOTH}\r\n", "x".repeat(49)), (true, true));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
            seen(&bytes, size);
        }
    }
}
