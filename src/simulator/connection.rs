//! TCP: a listener that can refuse, and connections that can be reset on purpose.
//!
//! Must not know: HTTP.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long to wait after the system could not accept or listen, before trying again.
const PAUSE: Duration = Duration::from_millis(10);

/// What is decided about all connections, from outside.
#[derive(Debug)]
pub(super) struct Gate {
    /// Cancelled to cut what is open; then replaced.
    cut: Mutex<CancellationToken>,
    /// Whether new connections are to be refused.
    refuse: watch::Sender<bool>,
    /// Whether they are.
    refused: watch::Sender<bool>,
}

impl Gate {
    /// Open.
    pub(super) fn new() -> Self {
        Self {
            cut: Mutex::new(CancellationToken::new()),
            refuse: watch::Sender::new(false),
            refused: watch::Sender::new(false),
        }
    }

    /// Resets every connection that is open now.
    pub(super) fn cut_connections(&self) {
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        if !cut.is_cancelled() {
            std::mem::take(&mut *cut).cancel();
        }
    }

    /// The same, and every connection that is still to come.
    pub(super) fn cut_for_good(&self) {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).cancel();
    }

    /// Closes the listener, or opens it again; comes back when that is so. What is open stays open.
    pub(super) async fn close_listener(&self, close: bool) {
        let mut refused = self.refused.subscribe();
        self.refuse.send_replace(close);
        // The listener holds the gate that holds the sender: there is always someone to answer, but for a simulator
        // that was stopped, and that one says so itself.
        let _ = refused.wait_for(|refused| *refused == close).await;
    }

    fn connection(&self) -> Connection {
        let cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Connection { cut, reset: Arc::new(AtomicBool::new(false)) }
    }
}

/// The handle by which an answer decides about its connection.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    cut: CancellationToken,
    reset: Arc<AtomicBool>,
}

impl Connection {
    /// Instead of the answer, the other end gets a reset.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::Release);
    }
}

impl Connected<IncomingStream<'_, GatedListener>> for Connection {
    fn connect_info(stream: IncomingStream<'_, GatedListener>) -> Self {
        stream.io().connection.clone()
    }
}

/// A listener behind a gate.
#[derive(Debug)]
pub(super) struct GatedListener {
    listener: Option<TcpListener>,
    address: SocketAddr,
    gate: Arc<Gate>,
    refuse: watch::Receiver<bool>,
}

impl GatedListener {
    /// Takes over a listener.
    pub(super) fn new(listener: TcpListener, gate: Arc<Gate>) -> io::Result<Self> {
        let refuse = gate.refuse.subscribe();
        Ok(Self { address: listener.local_addr()?, listener: Some(listener), gate, refuse })
    }

    /// Where it listens, also while it refuses.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Listener for GatedListener {
    type Io = GatedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            if *self.refuse.borrow_and_update() {
                self.listener = None;
                self.gate.refused.send_replace(true);
                if self.refuse.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
                continue;
            }
            let Some(listener) = &self.listener else {
                match TcpListener::bind(self.address).await {
                    Ok(listener) => {
                        self.listener = Some(listener);
                        self.gate.refused.send_replace(false);
                    }
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                continue;
            };
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => return (GatedStream::new(stream, self.gate.connection()), peer),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                },
                _ = self.refuse.changed() => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        Ok(self.address)
    }
}

/// A connection that can be reset.
#[derive(Debug)]
pub(super) struct GatedStream {
    stream: TcpStream,
    connection: Connection,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl GatedStream {
    fn new(stream: TcpStream, connection: Connection) -> Self {
        // Without this an answer in two packets waits for an acknowledgement; that it fails costs time only.
        let _ = stream.set_nodelay(true);
        let cut = Box::pin(connection.cut.clone().cancelled_owned());
        Self { stream, connection, cut }
    }

    /// With zero linger, dropping the stream sends a reset instead of a regular end.
    fn broken(&self) -> io::Error {
        let _ = self.stream.set_zero_linger();
        io::Error::from(io::ErrorKind::ConnectionReset)
    }

    fn check(&self) -> io::Result<()> {
        let broken = self.connection.reset.load(Ordering::Acquire) || self.connection.cut.is_cancelled();
        if broken { Err(self.broken()) } else { Ok(()) }
    }
}

impl AsyncRead for GatedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(self.broken()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for GatedStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
